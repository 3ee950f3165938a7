#pragma once
// `proxyvpn doctor`: every precondition and every piece of the set-up, each as a line.
#include <memory>
#include <string>

#include "app/config.h"
#include "app/doctor_proxy.h"
#include "app/subcommand.h"
#include "base/clock.h"

namespace proxyvpn::app {

struct DoctorOptions {
  Config config;
  bool proxy_given = false;
  std::string proxy_source;
  bool json = false;
  std::string target = kDefaultTarget;
  milliseconds timeout{5000};
};

// Looks, prints, and answers the number of failures. Changes nothing on the machine. The proxy is
// moved out of `options`.
int run_doctor(DoctorOptions& options);

// The command, with the options of `up` and its own.
std::unique_ptr<Subcommand> make_doctor();

}  // namespace proxyvpn::app
