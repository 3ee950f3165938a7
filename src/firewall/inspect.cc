#include "firewall/inspect.h"

#include <linux/netfilter/nf_tables.h>

#include <array>
#include <utility>

#include "firewall/netfilter_socket.h"
#include "firewall/nftnl_compile.h"
#include "firewall/nftnl_state.h"

namespace proxyvpn::firewall {
namespace {

constexpr const char* kTrial = "proxyvpn-trial";

// True when the kernel takes and keeps these flags.
Result<bool> try_flags(NetfilterSocket& socket, std::uint32_t flags) {
  Table table;
  table.name = kTrial;
  Batch batch;
  add_table(batch, table, flags);
  if (auto made = socket.commit(std::move(batch)); !made) {
    if (made.error().type == NFT_MSG_NEWTABLE) return false;
    return tl::unexpected<Error>(std::move(made.error().error));
  }
  const auto state = read_table(socket, table.family, kTrial);
  Batch undo;
  delete_table(undo, table.family, kTrial);
  // It is in a namespace that ends with the caller: nothing is lost when it stays.
  static_cast<void>(socket.commit(std::move(undo)));
  if (!state) return tl::unexpected<Error>(state.error());
  return state->present && state->flags == flags;
}

}  // namespace

Result<TableGuard> probe_table_guard() {
  auto socket = NetfilterSocket::open();
  if (!socket) return tl::unexpected<Error>(socket.error());
  static constexpr std::array<std::pair<std::uint32_t, TableGuard>, 2> levels{
      {{kOwner | kPersist, TableGuard::OwnerPersist}, {kOwner, TableGuard::Owner}}};
  for (const auto& [flags, guard] : levels) {
    const auto taken = try_flags(*socket, flags);
    if (!taken) return wrap(taken.error(), "cannot try a table with an owner");
    if (*taken) return guard;
  }
  return TableGuard::None;
}

Result<TableState> read_table_state(const std::string& name) {
  auto socket = NetfilterSocket::open();
  if (!socket) return tl::unexpected<Error>(socket.error());
  const auto table = read_table(*socket, TableFamily::Inet, name);
  if (!table) return tl::unexpected<Error>(table.error());
  TableState state;
  state.present = table->present;
  state.owned = table->present && (table->flags & kOwner) != 0;
  if (!state.present) return state;
  const auto lines = read_structure(*socket, TableFamily::Inet, name);
  if (!lines) return tl::unexpected<Error>(lines.error());
  for (const auto& line : *lines) {
    if (line.starts_with("chain ") && line.find(" hook ") != std::string::npos)
      ++state.chains_with_hook;
  }
  const auto content = read_content(*socket, TableFamily::Inet, name);
  if (!content) return tl::unexpected<Error>(content.error());
  state.rules = content->rules;
  return state;
}

}  // namespace proxyvpn::firewall
