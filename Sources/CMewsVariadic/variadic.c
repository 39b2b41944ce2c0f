#include "CMewsVariadic.h"
