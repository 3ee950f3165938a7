#include "app/doctor_facts.h"

#include <fcntl.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <ctime>

#include "app/capabilities.h"
#include "app/directory.h"
#include "base/unique_fd.h"
#include "firewall/run_command.h"

namespace proxyvpn::app {
namespace {

constexpr unsigned kMaxProcesses = 100'000;

// The beginning of a small file, without the newline; empty when it cannot be read.
std::string read_start(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  std::array<char, 64> buffer{};
  const auto n = fd ? ::read(fd.get(), buffer.data(), buffer.size()) : -1;
  std::string text(buffer.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

bool is_known(const std::string& name) {
  return std::any_of(std::begin(kKnownPrograms), std::end(kKnownPrograms), [&](const char* known) {
    return std::string_view(known).substr(0, 15) == name;
  });
}

void read_marks(DoctorFacts& facts) {
  if (!facts.host.capability.permitted) {
    facts.marking_error = Error{Code::Permission, 0, "it takes CAP_NET_ADMIN to read them"};
    return;
  }
  const RaisedCapability raised(CAP_NET_ADMIN);
  auto rules = firewall::read_marking_rules(firewall::Policy{}.table);
  if (rules) {
    facts.marking_rules = std::move(*rules);
  } else {
    facts.marking_error = rules.error();
  }
}

void read_commands(DoctorFacts& facts) {
  static constexpr std::array<std::array<const char*, 2>, 3> names{
      {{"nft", "nft"},
       {"iptables-nft", "iptables-nft-restore"},
       {"iptables-legacy", "iptables-legacy-restore"}}};
  for (const auto& [name, command] : names) {
    facts.commands.push_back({name, firewall::find_command(command).value_or(std::string())});
  }
}

void read_clock(DoctorFacts& facts) {
  facts.now = std::time(nullptr);
  timex state{};  // modes 0: reads only
  const int word = ::adjtimex(&state);
  facts.clock_synchronised = word >= 0 && word != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
}

}  // namespace

std::optional<int> read_number(const std::string& path) {
  const std::string text = read_start(path);
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::set<std::string> running_programs(const char* proc) {
  std::set<std::string> found;
  const Directory directory(::opendir(proc));
  for (unsigned seen = 0; directory && seen < kMaxProcesses; ++seen) {
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr) break;
    if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
    const auto name = read_start(std::string(proc) + "/" + entry->d_name + "/comm");
    if (is_known(name)) found.insert(name);
  }
  return found;
}

DoctorFacts read_doctor_facts(const Config& config) {
  DoctorFacts facts;
  facts.host = read_host_facts(config);
  utsname name{};
  if (::uname(&name) == 0) facts.release = name.release;
  read_commands(facts);
  const std::string conf = "/proc/sys/net/ipv4/conf/";
  facts.rp_filter = read_number(conf + "all/rp_filter");
  facts.tun_rp_filter = read_number(conf + config.tun_name + "/rp_filter");
  facts.programs = running_programs();
  read_marks(facts);
  read_clock(facts);
  return facts;
}

}  // namespace proxyvpn::app
