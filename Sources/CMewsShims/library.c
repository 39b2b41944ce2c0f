#include "CMewsShims.h"

#include <dlfcn.h>
#include <string.h>

const char *shim_library_path(void) {
    Dl_info info;
    return dladdr((const void *)shim_library_path, &info) != 0 ? info.dli_fname : NULL;
}

bool shim_library_provides(const char *name, const char *version) {
    const char *path = shim_library_path();
    void *library = path != NULL ? dlopen(path, RTLD_LAZY | RTLD_NOLOAD) : NULL;
    /* Linked into a program, as tests are: then what the program exports counts. */
    void *scope = library != NULL ? library : RTLD_DEFAULT;
    void *function = version != NULL ? dlvsym(scope, name, version) : dlsym(scope, name);
    Dl_info info;
    /* A dependency's function of the same name is not ours. */
    bool is_ours = function != NULL && (library == NULL || (dladdr(function, &info) != 0 && path != NULL &&
                                                            strcmp(info.dli_fname, path) == 0));
    if (library != NULL) dlclose(library);
    return is_ours;
}

bool shim_is_address_sanitized(void) {
#if __has_feature(address_sanitizer)
    return true;
#else
    return false;
#endif
}
