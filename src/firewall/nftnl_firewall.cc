#include "firewall/nftnl_firewall.h"

#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <array>
#include <utility>

#include "firewall/netfilter_socket.h"
#include "firewall/nft_text.h"
#include "firewall/nftables_monitor.h"
#include "firewall/nftnl_compile.h"
#include "firewall/nftnl_state.h"

namespace proxyvpn::firewall {
namespace {

std::string size_text(std::size_t rules, std::uint32_t flags) {
  std::string text = std::to_string(rules);
  return text.append(" rules and flags ").append(std::to_string(flags));
}

class NftnlFirewall final : public Firewall {
 public:
  NftnlFirewall(NetfilterSocket socket, NftablesMonitor monitor, Ownership ownership)
      : socket_(std::move(socket)),
        monitor_(std::move(monitor)),
        can_own_(ownership == Ownership::Auto),
        can_persist_(can_own_) {}

  [[nodiscard]] std::string name() const override { return "nftables"; }
  Result<> install(const Policy& policy) override;
  Result<> remove() override;
  Result<Presence> presence() override;
  Result<bool> intact() override;
  Result<std::vector<Counter>> counters() override { return read_counters(socket_, table_); }
  [[nodiscard]] int monitor_fd() const noexcept override { return monitor_.fd(); }
  bool drain_monitor() noexcept override { return monitor_.drain({table_}, socket_.port()); }

 private:
  using States = std::array<KernelTable, kTableFamilies.size()>;
  struct Reading {
    KernelTable table;
    std::vector<std::string> structure;
    Content content;
  };

  [[nodiscard]] bool foreign(const KernelTable& table) const {
    return table.present && (table.flags & kOwner) != 0 && table.owner != socket_.port();
  }
  [[nodiscard]] std::uint32_t wanted_flags(bool vanishes) const {
    if (vanishes) return can_own_ ? kOwner : 0;
    return can_persist_ ? kOwner | kPersist : 0;
  }
  Result<States> read_states(const std::string& name);
  Result<> refuse_foreign(const States& states, const std::string& name);
  Result<bool> fits(const KernelTable& have, const Table& want, std::uint32_t flags);
  Result<> add_steps(Batch& batch, const KernelTable& have, const Table& want, std::uint32_t flags,
                     bool in_place);
  Result<> commit(const Ruleset& ruleset, const States& states, bool in_place);
  Result<> replace(const Ruleset& ruleset, const States& states, bool in_place);
  Result<Reading> read(const Table& wanted);
  Result<> verify(const Ruleset& ruleset);
  static std::string fingerprint_of(const Table& table, const Reading& have);
  Result<std::string> fingerprint(const Ruleset& ruleset);

  NetfilterSocket socket_;
  NftablesMonitor monitor_;
  bool can_own_;
  bool can_persist_;
  std::string table_ = Policy{}.table;
  bool installed_ = false;
  Ruleset ruleset_{};  // of the last install(), elements and all
  std::string fingerprint_;
  std::uint32_t generation_ = 0;
};

Result<NftnlFirewall::States> NftnlFirewall::read_states(const std::string& name) {
  States states;
  for (std::size_t i = 0; i < kTableFamilies.size(); ++i) {
    auto table = read_table(socket_, kTableFamilies[i], name);
    if (!table) return tl::unexpected<Error>(table.error());
    states[i] = *table;
  }
  return states;
}

Result<> NftnlFirewall::refuse_foreign(const States& states, const std::string& name) {
  for (const KernelTable& table : states) {
    if (foreign(table))
      return fail(Code::Busy, "the firewall table " + name +
                                  " belongs to another running process (netlink port " +
                                  std::to_string(table.owner) + "); end that one first");
  }
  return {};
}

// True when only rules and elements have to be exchanged.
Result<bool> NftnlFirewall::fits(const KernelTable& have, const Table& want, std::uint32_t flags) {
  if (!have.present || ((have.flags ^ flags) & ~kOwner) != 0) return false;
  // A table without owner can be taken over only if it is the rest of an owned one.
  if ((flags & kOwner) != 0 && (have.flags & kOwner) == 0 && (flags & kPersist) == 0) return false;
  auto now = read_structure(socket_, want.family, want.name);
  if (!now) return tl::unexpected<Error>(now.error());
  return *now == structure(want);
}

Result<> NftnlFirewall::add_steps(Batch& batch, const KernelTable& have, const Table& want,
                                  std::uint32_t flags, bool in_place) {
  auto fit = in_place ? fits(have, want, flags) : Result<bool>(false);
  if (!fit) return tl::unexpected<Error>(fit.error());
  if (*fit) {
    if (have.flags != flags) add_table(batch, want, flags);  // adopts
    flush_rules(batch, want);
    for (const Set& set : want.sets) {
      if (!set.dynamic) flush_set(batch, want, set);
    }
  } else {
    if (have.present) delete_table(batch, want.family, want.name);
    add_table(batch, want, flags);
  }
  add_content(batch, want, *fit);
  return {};
}

Result<> NftnlFirewall::commit(const Ruleset& ruleset, const States& states, bool in_place) {
  const std::uint32_t flags = wanted_flags(ruleset.vanishes);
  Batch batch;
  for (std::size_t i = 0; i < kTableFamilies.size(); ++i) {
    if (const Table* want = find_table(ruleset, kTableFamilies[i])) {
      auto added = add_steps(batch, states[i], *want, flags, in_place);
      if (!added) return added;
    } else if (states[i].present) {
      delete_table(batch, kTableFamilies[i], ruleset.tables.front().name);
    }
  }
  auto done = socket_.commit(std::move(batch));
  if (done) return {};
  const int err = done.error().error.sys_errno;
  if (done.error().type == NFT_MSG_NEWTABLE && (err == EOPNOTSUPP || err == EINVAL) && flags != 0) {
    // An older kernel: without owners, or (before 6.9) without owners that leave the table behind.
    (ruleset.vanishes ? can_own_ : can_persist_) = false;
    return commit(ruleset, states, in_place);
  }
  return tl::unexpected<Error>(std::move(done.error().error));
}

Result<> NftnlFirewall::replace(const Ruleset& ruleset, const States& states, bool in_place) {
  auto done = commit(ruleset, states, in_place);
  // Kernels before 5.13 do not take a flushed set's elements again in the same batch.
  if (!done && in_place && done.error().code != Code::Permission)
    done = commit(ruleset, states, false);
  return done;
}

Result<> NftnlFirewall::install(const Policy& policy) {
  const std::string doing = "cannot put the firewall rules in force";
  if (auto checked = check(policy); !checked) return wrap(checked.error(), doing);
  const Ruleset ruleset = build_ruleset(policy);
  auto states = read_states(policy.table);
  if (!states) return wrap(states.error(), doing);
  if (auto free = refuse_foreign(*states, policy.table); !free) return wrap(free.error(), doing);
  if (auto done = replace(ruleset, *states, true); !done) {
    // Somebody else may have been faster.
    auto now = read_states(policy.table);
    if (auto free = now ? refuse_foreign(*now, policy.table) : Result<>(); !free)
      return wrap(free.error(), doing);
    return wrap(done.error(), doing);
  }
  if (installed_ && table_ != policy.table) {
    if (auto gone = remove(); !gone) return wrap(gone.error(), doing);
  }
  table_ = policy.table;
  installed_ = true;
  return verify(ruleset);
}

// All that is in force of one table; but for its flags nothing when it is not there.
Result<NftnlFirewall::Reading> NftnlFirewall::read(const Table& wanted) {
  auto table = read_table(socket_, wanted.family, wanted.name);
  if (!table) return tl::unexpected<Error>(table.error());
  if (!table->present) return Reading{*table, {}, {}};
  auto structure = read_structure(socket_, wanted.family, wanted.name);
  if (!structure) return tl::unexpected<Error>(structure.error());
  auto content = read_content(socket_, wanted.family, wanted.name);
  if (!content) return tl::unexpected<Error>(content.error());
  return Reading{*table, std::move(*structure), std::move(*content)};
}

// Reads back what is in force: some machines acknowledge and have nothing.
Result<> NftnlFirewall::verify(const Ruleset& ruleset) {
  const std::string doing = "cannot read the firewall rules back";
  const std::uint32_t flags = wanted_flags(ruleset.vanishes);
  auto generation = socket_.generation();
  if (!generation) return wrap(generation.error(), doing);
  std::string print;
  for (const Table& want : ruleset.tables) {
    auto have = read(want);
    if (!have) return wrap(have.error(), doing);
    std::size_t rules = 0;
    for (const Chain& chain : want.chains) rules += chain.rules.size();
    if (!have->table.present || have->table.flags != flags || have->content.rules != rules ||
        have->structure != structure(want)) {
      std::string text = doing;
      text.append(": the kernel took table ").append(place(want)).append(" with ");
      text.append(size_text(rules, flags)).append(", and now has ");
      return fail(Code::System, text.append(size_text(have->content.rules, have->table.flags)));
    }
    print += fingerprint_of(want, *have);
  }
  ruleset_ = ruleset;
  fingerprint_ = std::move(print);
  generation_ = *generation;
  return {};
}

std::string NftnlFirewall::fingerprint_of(const Table& table, const Reading& have) {
  std::string print = std::string(to_string(table.family)) + " " +
                      std::to_string(have.table.present) + " " + std::to_string(have.table.flags) +
                      " " + std::to_string(have.table.owner) + "\n";
  for (const std::string& line : have.structure) print += line + "\n";
  return print + have.content.fingerprint;
}

Result<std::string> NftnlFirewall::fingerprint(const Ruleset& ruleset) {
  std::string print;
  for (const Table& table : ruleset.tables) {
    auto have = read(table);
    if (!have) return tl::unexpected<Error>(have.error());
    print += fingerprint_of(table, *have);
  }
  return print;
}

Result<bool> NftnlFirewall::intact() {
  if (!installed_) return false;
  auto generation = socket_.generation();
  if (!generation) return tl::unexpected<Error>(generation.error());
  // A device that goes takes its egress chain along without a new generation.
  if (*generation == generation_ && find_table(ruleset_, TableFamily::Netdev) == nullptr)
    return true;
  auto print = fingerprint(ruleset_);
  if (!print) return tl::unexpected<Error>(print.error());
  if (*print != fingerprint_) return false;
  generation_ = *generation;
  return true;
}

Result<Presence> NftnlFirewall::presence() {
  auto states = read_states(table_);
  if (!states) return wrap(states.error(), "cannot look for the firewall table " + table_);
  bool present = false;
  bool owned = false;
  for (const KernelTable& table : *states) {
    if (foreign(table)) return Presence::Owned;
    present = present || table.present;
    owned = owned || (table.present && (table.flags & kOwner) != 0);
  }
  if (!present) return Presence::Absent;
  if (owned) return Presence::Ours;
  const bool plain = (*states)[0].present && (*states)[0].flags == 0;
  return installed_ && plain ? Presence::Ours : Presence::Orphan;
}

Result<> NftnlFirewall::remove() {
  const std::string doing = "cannot remove the firewall table " + table_;
  auto states = read_states(table_);
  if (!states) return wrap(states.error(), doing);
  if (auto free = refuse_foreign(*states, table_); !free) return wrap(free.error(), doing);
  Batch batch;
  for (std::size_t i = 0; i < kTableFamilies.size(); ++i) {
    if ((*states)[i].present) delete_table(batch, kTableFamilies[i], table_);
  }
  auto done = socket_.commit(std::move(batch));
  if (!done && done.error().error.sys_errno != ENOENT) return wrap(done.error().error, doing);
  installed_ = false;
  return {};
}

}  // namespace

Result<std::unique_ptr<Firewall>> open_nftnl_firewall(Ownership ownership) {
  auto socket = NetfilterSocket::open();
  if (!socket) return tl::unexpected<Error>(socket.error());
  auto monitor = NftablesMonitor::open();
  if (!monitor) return tl::unexpected<Error>(monitor.error());
  return std::make_unique<NftnlFirewall>(std::move(*socket), std::move(*monitor), ownership);
}

}  // namespace proxyvpn::firewall
