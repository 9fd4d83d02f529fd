# SPDX-License-Identifier: MIT
@0xbd1f89fa17369103;
interface Calls {
  nothing @0 ();
}
