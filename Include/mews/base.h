/*
 * mews/base.h: what every other header stands on: annotations, result codes, borrowed text and bytes.
 *
 * Reading the annotations
 * -----------------------
 * Every declaration says three things with macros, so that a tool can check them as well as a person:
 *
 *  who may be NULL   MEWS_REQUIRED  an argument that must not be NULL. The library checks it: NULL is answered with
 *                                   MEWS_E_INVALID_ARGUMENT (or an empty value), never with a crash.
 *                    MEWS_NULLABLE  NULL has a meaning, which the comment states.
 *                    MEWS_NONNULL   never NULL: what the library hands to you.
 *  which thread      MEWS_ANY_THREAD   any thread, at any time.
 *                    MEWS_IN_HANDLER   only inside the handler call that received the exchange, on that call's thread.
 *                                      Elsewhere it answers MEWS_E_GONE or MEWS_E_WRONG_THREAD (or an empty value).
 *                    MEWS_IN_START     only inside the plugin's start function.
 *                    MEWS_IN_SETUP     by one thread at a time, before the server is started.
 *  who owns          MEWS_COPIED     the library copies the argument before it returns.
 *                    MEWS_BORROWED   the pointee stays with its owner; the comment states until when it is valid.
 *                    MEWS_HANDED_OVER  the receiver releases it, with the function that the comment names.
 *
 * Sizes are bytes, durations carry their unit in their name, text is pointer and length and need not end in NUL.
 */
#ifndef MEWS_BASE_H
#define MEWS_BASE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__clang__)
#define MEWS_NULLABLE _Nullable
#define MEWS_NONNULL _Nonnull
/* The library's own build sees required arguments as nullable, so that the compiler makes it check them. */
#if defined(MEWS_BUILDING_LIBRARY)
#define MEWS_REQUIRED _Nullable
#else
#define MEWS_REQUIRED _Nonnull
#endif
#define MEWS_ANNOTATE_(text) __attribute__((annotate(text)))
#else
#define MEWS_NULLABLE
#define MEWS_NONNULL
#define MEWS_REQUIRED
#define MEWS_ANNOTATE_(text)
#endif

#define MEWS_ANY_THREAD MEWS_ANNOTATE_("mews: any thread")
#define MEWS_IN_HANDLER MEWS_ANNOTATE_("mews: in handler")
#define MEWS_IN_START MEWS_ANNOTATE_("mews: in start")
#define MEWS_IN_SETUP MEWS_ANNOTATE_("mews: in setup")
#define MEWS_COPIED MEWS_ANNOTATE_("mews: copied")
#define MEWS_BORROWED MEWS_ANNOTATE_("mews: borrowed")
#define MEWS_HANDED_OVER MEWS_ANNOTATE_("mews: handed over")

#if defined(__GNUC__) || defined(__clang__)
#define MEWS_PRINTF_(format_index, first_index) __attribute__((format(printf, format_index, first_index)))
#define MEWS_MUST_CHECK __attribute__((warn_unused_result))
#define MEWS_EXPORT __attribute__((visibility("default")))
#else
#define MEWS_PRINTF_(format_index, first_index)
#define MEWS_MUST_CHECK
#define MEWS_EXPORT
#endif

#if defined(__cplusplus)
#define MEWS_BEGIN_DECLARATIONS_LINKAGE_ extern "C" {
#define MEWS_END_DECLARATIONS_LINKAGE_ }
#define MEWS_STATIC_ASSERT(condition, text) static_assert(condition, text)
#else
#define MEWS_BEGIN_DECLARATIONS_LINKAGE_
#define MEWS_END_DECLARATIONS_LINKAGE_
#define MEWS_STATIC_ASSERT(condition, text) _Static_assert(condition, text)
#endif

#if defined(__clang__)
#define MEWS_BEGIN_DECLARATIONS \
    _Pragma("clang diagnostic push") _Pragma("clang diagnostic ignored \"-Wnullability-extension\"") \
        MEWS_BEGIN_DECLARATIONS_LINKAGE_
#define MEWS_END_DECLARATIONS MEWS_END_DECLARATIONS_LINKAGE_ _Pragma("clang diagnostic pop")
#else
#define MEWS_BEGIN_DECLARATIONS MEWS_BEGIN_DECLARATIONS_LINKAGE_
#define MEWS_END_DECLARATIONS MEWS_END_DECLARATIONS_LINKAGE_
#endif

MEWS_BEGIN_DECLARATIONS

/* The version of the product. */
#define MEWS_VERSION_STRING "0.1.0"

/*
 * The version of this ABI. A host accepts a plugin whose major number is its own and whose minor number is not above
 * its own. Major 0 is the draft before the first release: there the minor numbers must be equal.
 */
#define MEWS_ABI_MAJOR 0
#define MEWS_ABI_MINOR 1

/* Zero or a positive value is success; every error is negative and has a text (mews_result_text). */
typedef int32_t mews_result;

enum {
    MEWS_OK = 0,
    MEWS_E_FAILED = -1,            /* the operation failed for a reason that the log or the error text states */
    MEWS_E_INVALID_ARGUMENT = -2,  /* an argument is NULL, out of range or malformed */
    MEWS_E_NO_MEMORY = -3,         /* memory, or a limit on it, is exhausted */
    MEWS_E_GONE = -4,              /* the exchange, timer or server behind the handle is over */
    MEWS_E_WRONG_THREAD = -5,      /* called from a thread, or at a time, that the annotation rules out */
    MEWS_E_WRONG_STATE = -6,       /* the call is out of order: a second response, a route after the start */
    MEWS_E_CONFLICT = -7,          /* the route, name or address is taken */
    MEWS_E_NOT_FOUND = -8,         /* nothing by that name */
    MEWS_E_LIMIT = -9,             /* a configured limit is reached */
    MEWS_E_UNSUPPORTED = -10,      /* this host, kernel or build cannot do it; or a child after fork */
    MEWS_E_SYSTEM = -11,           /* a system call failed; the error text or the packet has its errno */
    MEWS_E_TIMEOUT = -12,          /* the time was over */
    MEWS_E_ABANDONED = -13,        /* the port was shut down during the wait */
    MEWS_E_CANCELED = -14,         /* the operation was cancelled before it was done */
    MEWS_E_BUSY = -15              /* the operation is in flight already */
};

/* A positive result: what was started is not done yet. */
enum { MEWS_PENDING = 1 };

/*
 * The text of a result, in English, one clause without a full stop. Static: valid for ever, never NULL. A value that is
 * no result has the text "unknown result".
 */
MEWS_ANY_THREAD const char *MEWS_NONNULL mews_result_text(mews_result result);

/* The version of the loaded library, such as "0.1.0". Static, never NULL. */
MEWS_ANY_THREAD const char *MEWS_NONNULL mews_version(void);

/* Which kernel interface moves the input and output of a server or a port. */
typedef uint32_t mews_io_backend;

enum {
    MEWS_IO_AUTO = 0,
    MEWS_IO_EPOLL = 1,
    MEWS_IO_URING = 2
};

/*
 * Text that somebody else owns: a view, valid as long as the function that returned it states. It need not end in NUL.
 * Absent text has data NULL and length 0; empty text has a non-NULL data and length 0.
 */
typedef struct mews_text {
    const char *MEWS_NULLABLE data;
    size_t length;
} mews_text;

/* Bytes that somebody else owns: like mews_text, without the promise of being text. */
typedef struct mews_bytes {
    const uint8_t *MEWS_NULLABLE data;
    size_t length;
} mews_bytes;

MEWS_STATIC_ASSERT(sizeof(mews_text) == 2 * sizeof(void *), "mews_text is a pointer and a length");
MEWS_STATIC_ASSERT(sizeof(mews_bytes) == 2 * sizeof(void *), "mews_bytes is a pointer and a length");

/* For printf: printf("%.*s", MEWS_TEXT_ARG(text)). Absent text prints as nothing. */
#define MEWS_TEXT_ARG(text) ((int)(text).length), ((text).data != NULL ? (text).data : "")

/*
 * Called once when bytes that were passed by reference are no longer needed: on a thread of the server, or by the
 * function that refuses them. It must not wait: the connections of an I/O thread would wait with it.
 */
typedef void (*mews_release)(void *MEWS_NULLABLE context);

MEWS_END_DECLARATIONS

#endif
