// The open flows as JSON; a file of its own, as the library's header is a large one.
#include "app/flows_view.h"
#include "app/json_value.h"
#include "app/status_json.h"

namespace proxyvpn::app {
namespace {

Json application(const std::optional<FlowOwner>& owner) {
  if (!owner) return nullptr;
  return {{"pid", owner->pid == 0 ? Json(nullptr) : Json(owner->pid)},
          {"name", owner->name.empty() ? Json(nullptr) : Json(owner->name)},
          {"uid", owner->uid},
          {"user", owner->user}};
}

}  // namespace

std::string flows_json(const FlowList& list, const std::vector<FlowRow>& rows, std::int64_t now) {
  Json flows = Json::array();
  for (const FlowRow& row : rows) {
    const FlowRecord& flow = row.flow;
    flows.push_back({{"id", connect::flow_id_text(flow.id)},
                     {"application", application(row.owner)},
                     {"source", to_string(flow.source)},
                     {"target", to_string(flow.destination)},
                     {"state", connect::to_string(flow.state)},
                     {"age", in_seconds(flow.age)},
                     {"idle", in_seconds(flow.idle)},
                     {"bytes", {{"up", flow.bytes_up}, {"down", flow.bytes_down}}},
                     {"rates", {{"up", row.rate_up}, {"down", row.rate_down}}}});
  }
  const Json root = {{"schema", kSchema},
                     {"time", now},
                     {"open", list.open},
                     {"complete", list.complete},
                     {"flows", std::move(flows)}};
  return text_of(root, true);
}

}  // namespace proxyvpn::app
