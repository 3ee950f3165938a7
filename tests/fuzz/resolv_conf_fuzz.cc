// resolv.conf as /etc and systemd-resolved have it: any text, both files at once.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "dns/resolv_conf.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace proxyvpn::dns;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto cut = text.find('\f');  // splits the input into the two files
  const auto first = text.substr(0, cut);
  std::optional<std::string_view> second;
  if (cut != std::string_view::npos) second = text.substr(cut + 1);

  const auto facts = decide_resolvers(first, second);
  if (facts.servers.size() > kMaxNameservers || facts.notes.size() > kMaxNotes) std::abort();
  for (const auto& server : facts.servers) {
    if (is_local_stub(server)) std::abort();
  }
  for (const auto& note : facts.notes) {
    for (const char c : note) {
      if (c < ' ' || c > '~') std::abort();  // notes go to a terminal
    }
  }
  for (const auto& server : parse_resolv_conf(first).nameservers) {
    if (parse_nameserver(to_string(server)) != server) std::abort();
  }
  return 0;
}
