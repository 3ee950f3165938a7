// One line per connection (--verbose), with the number that `proxyvpn flows` shows.
#include "base/log.h"
#include "connect/tunnel_table.h"

namespace proxyvpn::connect {
namespace {

std::string_view name_of(End why) {
  switch (why) {
    case End::Open:
      return "open";
    case End::Closed:
      return "closed";
    case End::ResetByApp:
      return "reset by the application";
    case End::ResetByProxy:
      return "reset by the proxy's side";
    case End::Refused:
      return "refused by the proxy";
    case End::ProxyTrouble:
      return "proxy trouble";
    case End::TimedOut:
      return "no answer in time";
    case End::NoSocket:
      return "no socket";
    case End::Stopped:
      return "stopped";
  }
  return "";
}

}  // namespace

void TunnelTable::log_end(const Tunnel& tunnel, End why) const noexcept {
  const auto ms =
      std::chrono::duration_cast<milliseconds>(reactor_.now() - tunnel.started_).count();
  std::vector<log::Field> fields = {{"id", flow_id_text(tunnel.id_)},
                                    {"from", to_string(tunnel.key_.source)},
                                    {"to", authority(target_of(tunnel.key_.destination))},
                                    {"end", name_of(why)},
                                    {"status", tunnel.status_},
                                    {"ms", ms},
                                    {"up", tunnel.bytes_up_},
                                    {"down", tunnel.bytes_down_}};
  if (!tunnel.reason_.empty()) fields.emplace_back("reason", tunnel.reason_);
  log::write(log::Level::Debug, "connection", fields);
}

void TunnelTable::log_refused(const stack::FlowKey& key, std::string_view reason) noexcept {
  log::debug("connection", {{"id", flow_id_text(next_id_++)},
                            {"from", to_string(key.source)},
                            {"to", authority(target_of(key.destination))},
                            {"end", name_of(End::ProxyTrouble)},
                            {"status", 0},
                            {"ms", 0},
                            {"up", 0},
                            {"down", 0},
                            {"reason", reason}});
}

}  // namespace proxyvpn::connect
