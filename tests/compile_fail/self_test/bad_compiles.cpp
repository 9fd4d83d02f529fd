// SPDX-License-Identifier: MIT
// Its bad variant compiles.
// expect: .
int main() {}
