// SPDX-License-Identifier: MIT
#include "transports_list.hpp"

template class parley::any_transport<tool::transports>;
