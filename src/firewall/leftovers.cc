#include "firewall/leftovers.h"

#include <fstream>
#include <utility>

#include "firewall/command_firewall.h"
#include "firewall/iptables_text.h"
#include "firewall/netfilter_socket.h"
#include "firewall/nftnl_firewall.h"
#include "firewall/nftnl_state.h"

namespace proxyvpn::firewall {
namespace {

bool has_nft_chains(NetfilterSocket& socket) {
  const std::string start = std::string("chain ") + kChainPrefix;
  for (const TableFamily family : {TableFamily::Ip, TableFamily::Ip6}) {
    for (const char* table : {"mangle", "filter"}) {
      const auto have = read_table(socket, family, table);
      if (!have || !have->present) continue;
      const auto lines = read_structure(socket, family, table);
      if (!lines) continue;
      for (const std::string& line : *lines) {
        if (line.rfind(start, 0) == 0) return true;
      }
    }
  }
  return false;
}

// iptables-legacy makes a table by asking for it; these files (root's) name those that are there.
bool has_legacy_tables() {
  for (const char* path : {"/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"}) {
    std::ifstream names(path);
    for (std::string name; names >> name;) {
      if (name == "mangle") return true;  // every mode of ours has chains there
    }
  }
  return false;
}

class SweepingFirewall final : public Firewall {
 public:
  SweepingFirewall(std::unique_ptr<Firewall> own, Backend backend)
      : own_(std::move(own)), backend_(backend) {}

  [[nodiscard]] std::string name() const override { return own_->name(); }
  Result<> install(const Policy& policy) override;
  Result<> remove() override;
  Result<Presence> presence() override;
  Result<bool> intact() override { return own_->intact(); }
  Result<std::vector<Counter>> counters() override { return own_->counters(); }
  [[nodiscard]] int monitor_fd() const noexcept override { return own_->monitor_fd(); }
  bool drain_monitor() noexcept override { return own_->drain_monitor(); }

 private:
  using Others = std::vector<std::unique_ptr<Firewall>>;
  [[nodiscard]] bool uses_nftables() const {
    return backend_ == Backend::Nftables || backend_ == Backend::NftCommand;
  }
  Result<Others> others() const;
  Result<> sweep();

  std::unique_ptr<Firewall> own_;
  Backend backend_;
};

// Those that may have left something. A kernel without nf_tables has nothing of theirs.
Result<SweepingFirewall::Others> SweepingFirewall::others() const {
  Others found;
  const auto add = [&found](Result<std::unique_ptr<Firewall>> opened) -> Result<> {
    if (!opened)
      return wrap(opened.error(), "rules of an earlier run are there and cannot be looked at");
    found.push_back(std::move(*opened));
    return {};
  };
  if (auto socket = NetfilterSocket::open()) {
    if (!uses_nftables()) {
      if (auto added = add(open_nftnl_firewall()); !added)
        return tl::unexpected<Error>(added.error());
    }
    if (backend_ != Backend::IptablesNft && has_nft_chains(*socket)) {
      if (auto added = add(open_iptables_firewall(Backend::IptablesNft)); !added)
        return tl::unexpected<Error>(added.error());
    }
  }
  if (backend_ != Backend::IptablesLegacy && has_legacy_tables()) {
    // Its tables are there for many reasons; ours are in them only if it could be run.
    if (auto opened = open_iptables_firewall(Backend::IptablesLegacy))
      found.push_back(std::move(*opened));
  }
  return found;
}

Result<> SweepingFirewall::sweep() {
  auto found = others();
  if (!found) return tl::unexpected<Error>(found.error());
  for (const auto& other : *found) {
    if (auto gone = other->remove(); !gone) return gone;
  }
  return {};
}

Result<> SweepingFirewall::install(const Policy& policy) {
  auto found = others();
  if (!found) return tl::unexpected<Error>(found.error());
  for (const auto& other : *found) {
    const auto there = other->presence();
    if (there && *there == Presence::Owned)
      return fail(Code::Busy,
                  "cannot put the firewall rules in force: a running process owns the " +
                      ("rules of " + other->name()) + "; end that one first");
  }
  if (auto done = own_->install(policy); !done) return done;
  for (const auto& other : *found) {
    if (auto gone = other->remove(); !gone)
      return wrap(gone.error(), "the rules are in force, but those of an earlier run stay");
  }
  return {};
}

Result<> SweepingFirewall::remove() {
  if (auto gone = own_->remove(); !gone) return gone;
  return sweep();
}

Result<Presence> SweepingFirewall::presence() {
  auto own = own_->presence();
  if (!own || *own != Presence::Absent) return own;
  auto found = others();
  if (!found) return tl::unexpected<Error>(found.error());
  for (const auto& other : *found) {
    auto there = other->presence();
    if (!there) return there;
    if (*there == Presence::Owned) return there;
    if (*there != Presence::Absent) own = Presence::Orphan;
  }
  return own;
}

}  // namespace

std::unique_ptr<Firewall> with_leftovers(std::unique_ptr<Firewall> own, Backend backend) {
  return std::make_unique<SweepingFirewall>(std::move(own), backend);
}

}  // namespace proxyvpn::firewall
