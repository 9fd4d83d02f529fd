// SPDX-License-Identifier: MIT
// It does not say what it expects.
#ifdef BAD
#error "words"
#endif
