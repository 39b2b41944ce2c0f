/* Atomic access to plain fields of structs that Swift lays out and several threads share. */
#ifndef CMEWS_SHIMS_ATOMIC_H
#define CMEWS_SHIMS_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>

SHIM_NO_LOCKS static inline uint64_t shim_load_relaxed(const uint64_t *_Nonnull word) {
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}
SHIM_NO_LOCKS static inline uint64_t shim_load_acquire(const uint64_t *_Nonnull word) {
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}
SHIM_NO_LOCKS static inline void shim_store_relaxed(uint64_t *_Nonnull word, uint64_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}
SHIM_NO_LOCKS static inline void shim_store_release(uint64_t *_Nonnull word, uint64_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}
SHIM_NO_LOCKS static inline uint64_t shim_exchange(uint64_t *_Nonnull word, uint64_t value) {
    return __atomic_exchange_n(word, value, __ATOMIC_ACQ_REL);
}
/* Adds (two's complement) and returns the new value. */
SHIM_NO_LOCKS static inline uint64_t shim_add(uint64_t *_Nonnull word, uint64_t value) {
    return __atomic_add_fetch(word, value, __ATOMIC_ACQ_REL);
}
/* Sets bits and returns the word as it was before. */
SHIM_NO_LOCKS static inline uint64_t shim_fetch_or(uint64_t *_Nonnull word, uint64_t bits) {
    return __atomic_fetch_or(word, bits, __ATOMIC_ACQ_REL);
}
/* Clears the bits that a mask has not, and returns the word as it was before. */
SHIM_NO_LOCKS static inline uint64_t shim_fetch_and(uint64_t *_Nonnull word, uint64_t mask) {
    return __atomic_fetch_and(word, mask, __ATOMIC_ACQ_REL);
}
/* Stores desired if the word holds *expected; otherwise reads the word into *expected and returns false. */
SHIM_NO_LOCKS static inline bool shim_compare_exchange(
    uint64_t *_Nonnull word, uint64_t *_Nonnull expected, uint64_t desired) {
    return __atomic_compare_exchange_n(word, expected, desired, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

#endif
