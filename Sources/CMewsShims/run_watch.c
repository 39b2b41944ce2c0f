#include "CMewsShims.h"

int32_t shim_run_watch_enable(void) {
    long error = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0u, 0);
    return error == 0 ? 0 : errno;
}

bool shim_run_settle(struct shim_run_watch *watch) {
    uint64_t claim = watch->number;
    bool is_mine =
        __atomic_compare_exchange_n(&watch->claim, &claim, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE) || claim == 0;
    watch->is_lost = !is_mine;
    return is_mine;
}

bool shim_run_take(struct shim_run_watch *watch, uint64_t number) {
    uint64_t claim = 0;
    if (!__atomic_compare_exchange_n(&watch->claim, &claim, number, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        return false;
    }
    shim_run_barrier();
    uint64_t next = __atomic_load_n(&watch->word, __ATOMIC_ACQUIRE) == number ? number | 1 : 0;
    claim = number;
    bool has_decided =
        __atomic_compare_exchange_n(&watch->claim, &claim, next, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    return has_decided && next != 0;
}

void shim_run_give_up(struct shim_run_watch *watch) {
    uint64_t claim = 0;
    /* The watcher may just hold a claim; having seen the run busy, it takes that back. */
    while (!__atomic_compare_exchange_n(
        &watch->claim, &claim, watch->number | 1, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        claim = 0;
        shim_cpu_relax();
    }
    watch->is_lost = true;
}
