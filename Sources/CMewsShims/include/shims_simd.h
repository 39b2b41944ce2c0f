/*
 * Sixteen bytes at a time: bit i of a mask is set when byte i is in the set that the function names. Swift has no way
 * to turn a vector comparison into such a mask. All 16 bytes must be readable.
 */
#ifndef CMEWS_SHIMS_SIMD_H
#define CMEWS_SHIMS_SIMD_H

#include <stdint.h>

#if defined(__SSE2__)

#include <emmintrin.h>

static inline __m128i shim_load16_(const uint8_t *_Nonnull bytes) {
    return _mm_loadu_si128((const __m128i *)(const void *)bytes);
}

static inline __m128i shim_at_most_(__m128i bytes, uint8_t limit) {
    return _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8((char)limit)), bytes);
}

/* Bytes equal to one. */
SHIM_NO_LOCKS static inline uint32_t shim_mask_equal(const uint8_t *_Nonnull bytes, uint8_t byte) {
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(shim_load16_(bytes), _mm_set1_epi8((char)byte)));
}

/* Bytes that no field value holds: controls other than HTAB, and DEL (RFC 9110, 5.5). */
SHIM_NO_LOCKS static inline uint32_t shim_mask_not_field_value(const uint8_t *_Nonnull bytes) {
    __m128i vector = shim_load16_(bytes);
    __m128i control = _mm_andnot_si128(_mm_cmpeq_epi8(vector, _mm_set1_epi8('\t')), shim_at_most_(vector, 0x1f));
    __m128i del = _mm_cmpeq_epi8(vector, _mm_set1_epi8(0x7f));
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(control, del));
}

/* Bytes that no request target holds: everything but the visible ASCII characters, and "#". */
SHIM_NO_LOCKS static inline uint32_t shim_mask_not_target(const uint8_t *_Nonnull bytes) {
    __m128i vector = shim_load16_(bytes);
    /* Signed: bytes from 0x80 up are negative, so that one comparison finds them and those up to the space. */
    __m128i outside = _mm_cmplt_epi8(vector, _mm_set1_epi8(0x21));
    __m128i del = _mm_cmpeq_epi8(vector, _mm_set1_epi8(0x7f));
    __m128i hash = _mm_cmpeq_epi8(vector, _mm_set1_epi8('#'));
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(outside, _mm_or_si128(del, hash)));
}

/* Bytes other than letters, digits and "-": the end of nearly every field name. */
SHIM_NO_LOCKS static inline uint32_t shim_mask_not_alphanumeric_or_hyphen(const uint8_t *_Nonnull bytes) {
    __m128i vector = shim_load16_(bytes);
    __m128i lower = _mm_or_si128(vector, _mm_set1_epi8(0x20));
    __m128i letter = shim_at_most_(_mm_sub_epi8(lower, _mm_set1_epi8('a')), 25);
    __m128i digit = shim_at_most_(_mm_sub_epi8(vector, _mm_set1_epi8('0')), 9);
    __m128i hyphen = _mm_cmpeq_epi8(vector, _mm_set1_epi8('-'));
    __m128i common = _mm_or_si128(letter, _mm_or_si128(digit, hyphen));
    return (uint32_t)_mm_movemask_epi8(common) ^ 0xffff;
}

/* Bytes other than letters, digits, "-" and ".": the end of nearly every host name. */
SHIM_NO_LOCKS static inline uint32_t shim_mask_not_host(const uint8_t *_Nonnull bytes) {
    __m128i vector = shim_load16_(bytes);
    __m128i lower = _mm_or_si128(vector, _mm_set1_epi8(0x20));
    __m128i letter = shim_at_most_(_mm_sub_epi8(lower, _mm_set1_epi8('a')), 25);
    /* From "-" to "9" there is one other character: the slash. */
    __m128i range = shim_at_most_(_mm_sub_epi8(vector, _mm_set1_epi8('-')), '9' - '-');
    __m128i slash = _mm_cmpeq_epi8(vector, _mm_set1_epi8('/'));
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(letter, _mm_andnot_si128(slash, range))) ^ 0xffff;
}

#else

SHIM_NO_LOCKS static inline uint32_t shim_mask_equal(const uint8_t *_Nonnull bytes, uint8_t byte) {
    uint32_t mask = 0;
    for (uint32_t i = 0; i < 16; i++) mask |= (uint32_t)(bytes[i] == byte) << i;
    return mask;
}

SHIM_NO_LOCKS static inline uint32_t shim_mask_not_field_value(const uint8_t *_Nonnull bytes) {
    uint32_t mask = 0;
    for (uint32_t i = 0; i < 16; i++)
        mask |= (uint32_t)((bytes[i] < 0x20 && bytes[i] != '\t') || bytes[i] == 0x7f) << i;
    return mask;
}

SHIM_NO_LOCKS static inline uint32_t shim_mask_not_target(const uint8_t *_Nonnull bytes) {
    uint32_t mask = 0;
    for (uint32_t i = 0; i < 16; i++) mask |= (uint32_t)(bytes[i] < 0x21 || bytes[i] > 0x7e || bytes[i] == '#') << i;
    return mask;
}

SHIM_NO_LOCKS static inline uint32_t shim_mask_not_alphanumeric_or_hyphen(const uint8_t *_Nonnull bytes) {
    uint32_t mask = 0;
    for (uint32_t i = 0; i < 16; i++) {
        uint8_t letter = (uint8_t)((bytes[i] | 0x20) - 'a'), digit = (uint8_t)(bytes[i] - '0');
        mask |= (uint32_t)(letter > 25 && digit > 9 && bytes[i] != '-') << i;
    }
    return mask;
}

SHIM_NO_LOCKS static inline uint32_t shim_mask_not_host(const uint8_t *_Nonnull bytes) {
    uint32_t mask = shim_mask_not_alphanumeric_or_hyphen(bytes);
    return mask & ~shim_mask_equal(bytes, '.');
}

#endif

#endif
