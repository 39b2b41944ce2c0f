/*
 * mewskit.h: what MewsKit needs and Swift cannot say: variadic calls, and a plugin's identity as an ELF note.
 *
 * Swift can place a constant in a section, but such a constant may hold no text. So the note is C: it is compiled into
 * the plugin's own module, which imports this header with MEWS_PLUGIN_NAME and MEWS_PLUGIN_VERSION defined in its
 * manifest.
 */
#ifndef MEWSKIT_H
#define MEWSKIT_H

#include "../../Include/mews/mews.h"

/* More of one message than this is cut off: printf's precision is an int. */
#define MEWSKIT_MESSAGE_MAX 65536

static inline int mewskit_message_length(mews_text text) {
    return text.length < MEWSKIT_MESSAGE_MAX ? (int)text.length : MEWSKIT_MESSAGE_MAX;
}

/* mews_log with text of a known length. */
static inline void mewskit_log(mews_plugin *MEWS_NONNULL self, mews_level level, mews_text text) {
    mews_log(self, level, "%.*s", mewskit_message_length(text), text.data != NULL ? text.data : "");
}

/* mews_fail with text of a known length. */
static inline mews_result mewskit_fail(mews_plugin *MEWS_NONNULL self, mews_text text) {
    return mews_fail(self, "%.*s", mewskit_message_length(text), text.data != NULL ? text.data : "");
}

/* What the compiler makes of "@main": it calls the main function of the plugin's type, which MewsKit supplies. */
extern int32_t mewskit_plugin_main(int32_t argc, char *MEWS_NULLABLE *MEWS_NULLABLE argv) __asm__("main");

#if defined(MEWS_PLUGIN_NAME) && defined(MEWS_PLUGIN_VERSION)

MEWS_STATIC_ASSERT(
    sizeof(MEWS_PLUGIN_NAME) > 1 && sizeof(MEWS_PLUGIN_NAME) <= 64, "MEWS_PLUGIN_NAME must have 1 to 63 bytes");
MEWS_STATIC_ASSERT(sizeof(MEWS_PLUGIN_VERSION) <= 32, "MEWS_PLUGIN_VERSION must have at most 31 bytes");

__attribute__((section(".note.mews"), used, aligned(4))) static const mews_plugin_note mewskit_note = {
    5, 104, MEWS_PLUGIN_NOTE_TYPE, "Mews", MEWS_ABI_MAJOR, MEWS_ABI_MINOR, MEWS_PLUGIN_NAME, MEWS_PLUGIN_VERSION};

/* The identity of the plugin that is being compiled. A module that calls this gets the note into its object file. */
static inline const mews_plugin_note *MEWS_NULLABLE mewskit_identity(void) {
    return &mewskit_note;
}

#elif defined(MEWSKIT_ITSELF)

/* MewsKit compiles the call for its clients and never makes it. */
static inline const mews_plugin_note *MEWS_NULLABLE mewskit_identity(void) {
    return NULL;
}

#else

/* Never defined: its name is what the linker says when a plugin's manifest does not give its name and version. */
extern const mews_plugin_note MEWS_PLUGIN_NAME_and_MEWS_PLUGIN_VERSION_must_be_defined_in_the_cSettings_of_the_plugin;

static inline const mews_plugin_note *MEWS_NULLABLE mewskit_identity(void) {
    return &MEWS_PLUGIN_NAME_and_MEWS_PLUGIN_VERSION_must_be_defined_in_the_cSettings_of_the_plugin;
}

#endif

#endif
