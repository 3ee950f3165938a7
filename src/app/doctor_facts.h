#pragma once
// What `doctor` looks at besides HostFacts, as values.
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "app/config.h"
#include "app/host_facts.h"
#include "app/kernel_probe.h"
#include "firewall/inspect.h"

namespace proxyvpn::app {

// One way to set rules.
struct BackEnd {
  std::string name;     // as --firewall takes it
  std::string command;  // absolute path; empty: it is not installed
};

struct DoctorFacts {
  HostFacts host;
  KernelTrials kernel;
  std::string release;               // uname -r
  std::vector<BackEnd> commands;     // nft, iptables-nft, iptables-legacy
  std::optional<int> rp_filter;      // net.ipv4.conf.all.rp_filter
  std::optional<int> tun_rp_filter;  // of the TUN, while it is there
  std::set<std::string> programs;    // of kKnownPrograms those that run (/proc/PID/comm)
  std::optional<std::vector<firewall::MarkingRule>> marking_rules;  // empty: see marking_error
  std::optional<Error> marking_error;
  std::int64_t now = 0;             // seconds since the epoch
  bool clock_synchronised = false;  // adjtimex(2)
};

// Programs that change what we set up, or depend on it, by the first 15 bytes of their names.
inline constexpr const char* kKnownPrograms[] = {
    "NetworkManager", "systemd-network", "systemd-resolve", "firewalld",      "dockerd",
    "containerd",     "podman",          "tailscaled",      "mullvad-daemon", "openvpn",
    "dnsmasq",        "unbound",         "nordvpnd"};

// Reads everything but the kernel's trials; changes nothing, never fails as a whole.
DoctorFacts read_doctor_facts(const Config& config);

// Names of processes under `proc` that are in kKnownPrograms; at most 100,000 processes are read.
std::set<std::string> running_programs(const char* proc = "/proc");
// The number in a file of /proc/sys; empty when it cannot be read.
std::optional<int> read_number(const std::string& path);

}  // namespace proxyvpn::app
