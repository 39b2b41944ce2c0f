/*
 * forked-child: a program with a server forks while a request is pending. In the child every function is refused and
 * nothing reaches the parent's server, which goes on. Ends with status 1 at the first check that fails.
 */
#define _GNU_SOURCE
#include <mews/mews.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
            _exit(1); \
        } \
    } while (0)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static mews_token pending;

static mews_result leave_pending(mews_exchange *exchange, void *state) {
    (void)state;
    pthread_mutex_lock(&lock);
    mews_result result = mews_exchange_retain(exchange, &pending);
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
    return result == MEWS_OK ? MEWS_PENDING : result;
}

static mews_result proceed(mews_exchange *exchange, void *state) {
    (void)state;
    return mews_respond(exchange, 200, NULL, "no", 2);
}

static void call(mews_plugin *self, void *context) { (void)self, (void)context; }

static int released;
static void release(void *context) { (void)context, released++; }

static void check_child(mews_server *server) {
    mews_plugin *self = mews_server_plugin(server);
    mews_server *another = server;
    uint16_t port = 0;
    CHECK(mews_server_create(NULL, &another) == MEWS_E_UNSUPPORTED && another == NULL);
    CHECK(mews_server_route(server, "GET", "/late", proceed, NULL) == MEWS_E_UNSUPPORTED);
    CHECK(mews_server_listen(server, "http://127.0.0.1:0", &port) == MEWS_E_UNSUPPORTED);
    CHECK(mews_server_start(server) == MEWS_E_UNSUPPORTED);
    CHECK(mews_server_run(server) == MEWS_E_UNSUPPORTED);
    CHECK(mews_server_stop(server) == MEWS_E_UNSUPPORTED);
    CHECK(mews_server_wait(server) == MEWS_E_UNSUPPORTED);
    CHECK(strstr(mews_server_error(server), "fork") != NULL);
    CHECK(mews_token_status(pending) == MEWS_E_UNSUPPORTED);
    CHECK(mews_complete(pending, 200, NULL, "child", 5) == MEWS_E_UNSUPPORTED);
    CHECK(mews_complete_reference(pending, 200, NULL, "child", 5, release, NULL) == MEWS_E_UNSUPPORTED);
    CHECK(released == 1);
    CHECK(mews_continue(pending, proceed, NULL) == MEWS_E_UNSUPPORTED);
    CHECK(mews_token_release(pending) == MEWS_E_UNSUPPORTED);
    CHECK(mews_work(self, call, NULL) == MEWS_E_UNSUPPORTED);
    CHECK(mews_timer_start(self, 1, call, NULL, NULL) == MEWS_E_UNSUPPORTED);
    CHECK(mews_timer_cancel(self, 1) == MEWS_E_UNSUPPORTED);
    mews_server_destroy(server);
}

static int connect_to(uint16_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(descriptor >= 0 && connect(descriptor, (struct sockaddr *)&address, sizeof address) == 0);
    return descriptor;
}

int main(void) {
    mews_server *server = NULL;
    uint16_t port = 0;
    CHECK(mews_server_create(NULL, &server) == MEWS_OK);
    CHECK(mews_server_route(server, "GET", "/pending", leave_pending, NULL) == MEWS_OK);
    CHECK(mews_server_listen(server, "http://127.0.0.1:0", &port) == MEWS_OK);
    CHECK(mews_server_start(server) == MEWS_OK);

    int client = connect_to(port);
    static const char request[] = "GET /pending HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    CHECK(write(client, request, sizeof request - 1) == (ssize_t)sizeof request - 1);
    pthread_mutex_lock(&lock);
    while (pending == 0) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);

    pid_t child = fork();
    if (child == 0) {
        check_child(server);
        _exit(0);
    }
    int status = 0;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);

    CHECK(mews_token_status(pending) == MEWS_OK);
    CHECK(mews_complete(pending, 200, NULL, "parent", 6) == MEWS_OK);
    char response[1024];
    size_t length = 0;
    ssize_t count;
    while ((count = read(client, response + length, sizeof response - 1 - length)) > 0) length += (size_t)count;
    response[length] = '\0';
    CHECK(strstr(response, "200 OK") != NULL && strstr(response, "\r\n\r\nparent") != NULL);
    close(client);

    CHECK(mews_server_stop(server) == MEWS_OK);
    CHECK(mews_server_wait(server) == MEWS_OK);
    mews_server_destroy(server);
    return 0;
}
