// The flows of all workers, as others want to see or end them.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "app/flow_dump.h"
#include "app/worker_pool.h"
#include "app/worker_slot.h"

namespace proxyvpn::app {
namespace {

// Flows that may come between the look at the counter and the worker's answer.
constexpr std::uint64_t kRoomForNewFlows = 1024;

// A file in memory that can neither grow nor shrink any more.
Result<UniqueFd> make_memory(std::uint64_t records) {
  UniqueFd memory(::memfd_create("proxyvpn-flows", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const auto size = kFlowHeaderSize + records * kFlowRecordSize;
  if (!memory || ::ftruncate(memory.get(), static_cast<off_t>(size)) != 0 ||
      ::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
    return fail_errno(errno, "making room for the table of flows (memfd_create)");
  }
  return memory;
}

}  // namespace

Result<> WorkerPool::kill_flow(std::uint64_t id) {
  for (auto& slot : slots_) {
    if (slot->pid == 0 || !slot->channel || slot->life != connect::life_of(id)) continue;
    if (send_message(slot->channel.get(), encode(ToWorker(KillFlow{id})))) return {};
    return fail_errno(errno, "telling a worker to end flow " + connect::flow_id_text(id));
  }
  return fail(Code::NotFound, "flow " + connect::flow_id_text(id) + " is not open");
}

Result<std::vector<UniqueFd>> WorkerPool::dump_flows() {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
    return fail_errno(errno, "asking for the flows (pipe)");
  }
  const UniqueFd done(ends[1]);
  std::vector<UniqueFd> answer;
  answer.emplace_back(ends[0]);
  for (auto& slot : slots_) {
    if (slot->pid == 0 || !slot->channel || !slot->stats) continue;
    const auto open = slot->stats->flows_open.load(std::memory_order_relaxed);
    DumpFlows request;
    request.most = static_cast<std::uint32_t>(std::min<std::uint64_t>(
        std::min<std::uint64_t>(open, kMostDumpedFlows) + kRoomForNewFlows, kMostDumpedFlows));
    auto memory = make_memory(request.most);
    if (!memory) return tl::unexpected(memory.error());
    const int descriptors[] = {memory->get(), done.get()};
    // A worker that does not take it is left out: its file stays empty, which the reader tells.
    static_cast<void>(send_message(slot->channel.get(), encode(ToWorker(request)), descriptors));
    answer.push_back(std::move(*memory));
  }
  return answer;
}

}  // namespace proxyvpn::app
