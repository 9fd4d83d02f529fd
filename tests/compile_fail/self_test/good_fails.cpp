// SPDX-License-Identifier: MIT
// Its good variant fails.
// expect: error
#ifdef BAD
#error "words"
#else
#error "words"
#endif
