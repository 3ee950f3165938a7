#include "app/flow_client.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "app/control_client.h"

namespace proxyvpn::app {
namespace {

constexpr seconds kWorkerTime{2};  // for all workers to write their tables
constexpr seconds kKillTime{2};
constexpr milliseconds kKillPollInterval{50};
constexpr std::size_t kLargestFile = kFlowHeaderSize + kMostDumpedFlows * kFlowRecordSize;

// The pipe ends when every worker has closed its end of it. False: not within the time.
bool wait_for_workers(int pipe) {
  const TimePoint deadline = Clock::now() + kWorkerTime;
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now()).count();
    pollfd entry{pipe, POLLIN, 0};
    const int n = ::poll(&entry, 1, left > 0 ? static_cast<int>(left) : 0);
    if (n == 0) return false;
    if (n > 0) return (entry.revents & POLLHUP) != 0;
    if (errno != EINTR) return false;
  }
}

std::vector<std::uint8_t> read_whole(int file) {
  struct stat info {};
  if (::fstat(file, &info) != 0 || info.st_size <= 0) return {};
  std::vector<std::uint8_t> bytes(std::min(static_cast<std::size_t>(info.st_size), kLargestFile));
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n =
        ::pread(file, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  bytes.resize(done);
  return bytes;
}

void add(FlowList& list, const UniqueFd& file) {
  const auto dump = decode_flows(read_whole(file.get()));
  if (!dump) {
    list.complete = false;  // it ended meanwhile, or was too busy to hear
    return;
  }
  list.taken = std::max(list.taken, dump->taken);
  list.open += dump->open;
  list.complete = list.complete && dump->open == dump->flows.size();
  list.flows.insert(list.flows.end(), dump->flows.begin(), dump->flows.end());
}

bool has(const FlowList& list, std::uint64_t id) {
  return std::any_of(list.flows.begin(), list.flows.end(),
                     [&](const FlowRecord& flow) { return flow.id == id; });
}

tl::unexpected<Error> not_open(std::uint64_t id) {
  return fail(Code::NotFound, "flow " + connect::flow_id_text(id) +
                                  " is not open: `proxyvpn flows` lists those that are");
}

}  // namespace

Result<FlowList> read_flows(const Config& config) {
  auto answer = ask_any(config, {Verb::Flows}, kAnswerTime);
  if (!answer) return tl::unexpected(answer.error());
  if (!answer->reply.ok) return fail(Code::Permission, answer->reply.problem);
  if (answer->descriptors.empty()) {
    return fail(Code::Protocol, "the daemon sent no table of flows: is it of another version?");
  }
  FlowList list;
  list.complete = wait_for_workers(answer->descriptors.front().get());
  for (std::size_t i = 1; i < answer->descriptors.size(); ++i) add(list, answer->descriptors[i]);
  return list;
}

Result<> kill_flow(const Config& config, std::uint64_t id) {
  const auto before = read_flows(config);
  if (!before) return tl::unexpected(before.error());
  if (!has(*before, id)) return not_open(id);
  const auto answer = ask_any(config, {Verb::KillFlow, id}, kAnswerTime);
  if (!answer) return tl::unexpected(answer.error());
  if (!answer->reply.ok) return fail(Code::NotFound, answer->reply.problem);
  for (const TimePoint deadline = Clock::now() + kKillTime; Clock::now() < deadline;) {
    const auto now = read_flows(config);
    if (now && now->complete && !has(*now, id)) return {};
    std::this_thread::sleep_for(kKillPollInterval);
  }
  return fail(Code::Timeout, "flow " + connect::flow_id_text(id) + " does not end");
}

}  // namespace proxyvpn::app
