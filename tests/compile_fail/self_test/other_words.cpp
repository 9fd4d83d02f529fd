// SPDX-License-Identifier: MIT
// It fails with other words than it expects.
// expect: these words
#ifdef BAD
#error "other words"
#endif
