#include "CMewsShims.h"

__thread void *shim_thread_context_;
