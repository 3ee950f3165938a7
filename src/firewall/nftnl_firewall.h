#pragma once
// The nf_tables back end: one batch on a socket that lives as long as the object.
//
// Tables are made with owner|persist (Linux 6.9): nobody else can change or flush them, and when
// this process dies they go on filtering until the next install() or remove() of anybody.
// Mode::Open is made with owner alone (5.12) and goes with the process. Older kernels get plain
// tables: the rules are the same, but `nft flush ruleset` takes them away until the monitor has
// told.
#include <memory>

#include "firewall/firewall.h"

namespace proxyvpn::firewall {

enum class Ownership : std::uint8_t {
  Auto,
  Plain,  // as on a kernel without table owners; for tests
};
Result<std::unique_ptr<Firewall>> open_nftnl_firewall(Ownership ownership = Ownership::Auto);

}  // namespace proxyvpn::firewall
