/* What of the public header only C can define: the variadic functions, which format and hand over. */
#define _GNU_SOURCE
#include "mews/mews.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* In MewsABI. */
void mewsabi_log(mews_plugin *self, mews_level level, const char *text);
int32_t mewsabi_log_is_enabled(mews_plugin *self, mews_level level);
mews_result mewsabi_fail(mews_plugin *self, const char *text);

enum { SHORT_TEXT = 1024 };

/* Here, because only C sees the macro as a static string. */
const char *mews_version(void) { return MEWS_VERSION_STRING; }

mews_result mews_respond_format(
    mews_exchange *exchange, uint32_t status, const char *content_type, const char *format, ...) {
    if (exchange == NULL || format == NULL) return MEWS_E_INVALID_ARGUMENT;
    char text[SHORT_TEXT];
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    mews_result result = MEWS_E_INVALID_ARGUMENT;
    if (length >= 0 && length < SHORT_TEXT) {
        result = mews_respond(exchange, status, content_type, text, (size_t)length);
    } else if (length >= 0) {
        char *longer = mews_alloc(exchange, (size_t)length + 1);
        if (longer == NULL) {
            result = MEWS_E_NO_MEMORY;
        } else {
            vsnprintf(longer, (size_t)length + 1, format, again);
            /* The arena lives as long as the exchange, not as long as the response is being sent: hence a copy. */
            result = mews_respond(exchange, status, content_type, longer, (size_t)length);
        }
    }
    va_end(again);
    return result;
}

void mews_log(mews_plugin *self, mews_level level, const char *format, ...) {
    if (self == NULL || format == NULL || !mewsabi_log_is_enabled(self, level)) return;
    char text[SHORT_TEXT];
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length >= SHORT_TEXT) {
        char *longer = malloc((size_t)length + 1);
        if (longer != NULL) vsnprintf(longer, (size_t)length + 1, format, again);
        /* Without memory for all of the line, the beginning of it is better than nothing. */
        mewsabi_log(self, level, longer != NULL ? longer : text);
        free(longer);
    } else if (length >= 0) {
        mewsabi_log(self, level, text);
    }
    va_end(again);
}

mews_result mews_fail(mews_plugin *self, const char *format, ...) {
    if (self == NULL || format == NULL) return MEWS_E_FAILED;
    char text[SHORT_TEXT];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return mewsabi_fail(self, length >= 0 ? text : "the reason could not be formatted");
}
