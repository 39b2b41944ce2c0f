/* The shared object that this code is linked into. */
#ifndef CMEWS_SHIMS_LIBRARY_H
#define CMEWS_SHIMS_LIBRARY_H

#include <stdbool.h>

/* Its path as the dynamic linker knows it, or NULL. Valid as long as the process. */
const char *_Nullable shim_library_path(void);

/* Whether it exports a function by that name, in that symbol version unless version is NULL. */
bool shim_library_provides(const char *_Nonnull name, const char *_Nullable version);

/* Whether the library was built with the address sanitizer. */
bool shim_is_address_sanitized(void);

#endif
