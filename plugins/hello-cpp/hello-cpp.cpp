/*
 * A request handler in C++17, with an object as its state.
 *
 *   curl http://127.0.0.1:8080/cpp/hello/world
 *   Hello, world! You are number 1.
 *
 *   c++ -std=c++17 -shared -fPIC -Wl,-z,defs hello-cpp.cpp -o plugins/hello-cpp.so $(pkg-config --cflags --libs mews)
 *
 * The host calls through C: an exception must not leave a handler. `guarded` turns a member function into a handler
 * that keeps that promise; it answers an exception with MEWS_E_FAILED, which the host turns into a 500, and logs its
 * text.
 */
#include <mews/plugin.h>

#include <atomic>
#include <cstdint>
#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <utility>

namespace {

std::string_view view(mews_text text) {
    return text.data == nullptr ? std::string_view{} : std::string_view{text.data, text.length};
}

class Greeter {
public:
    explicit Greeter(std::string greeting) : greeting_(std::move(greeting)) {}

    /* Runs on several threads at once, so what it changes is atomic. */
    mews_result hello(mews_exchange *exchange) {
        const std::uint64_t number = visitors_.fetch_add(1, std::memory_order_relaxed) + 1;
        std::string body = greeting_;
        body.append(", ").append(view(mews_path_parameter(exchange, "name"))).append("! You are number ");
        body.append(std::to_string(number)).append(".\n");
        return mews_respond(exchange, 200, "text/plain", body.data(), body.size());
    }

private:
    const std::string greeting_;
    std::atomic<std::uint64_t> visitors_{0};
};

template <mews_result (Greeter::*method)(mews_exchange *)>
mews_result guarded(mews_exchange *exchange, void *state) noexcept {
    try {
        return (static_cast<Greeter *>(state)->*method)(exchange);
    } catch (const std::bad_alloc &) {
        return MEWS_E_NO_MEMORY;
    } catch (const std::exception &error) {
        if (mews_plugin *self = mews_exchange_plugin(exchange)) mews_log(self, MEWS_LEVEL_ERROR, "%s", error.what());
        return MEWS_E_FAILED;
    } catch (...) {
        return MEWS_E_FAILED;
    }
}

mews_result start(mews_plugin *self, void **state) noexcept {
    try {
        const std::string_view greeting = view(mews_setting(self, "greeting"));
        *state = new Greeter(std::string(greeting.empty() ? "Hello" : greeting));
    } catch (const std::bad_alloc &) {
        return MEWS_E_NO_MEMORY;
    }
    return mews_route(self, "GET", "/cpp/hello/{name}", guarded<&Greeter::hello>);
}

void stop(mews_plugin *, void *state) noexcept { delete static_cast<Greeter *>(state); }

}  // namespace

MEWS_PLUGIN_WITH_STOP("hello-cpp", "1.0.0", start, stop)
