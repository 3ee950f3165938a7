#pragma once
// `doctor` on the machine itself: kernel, privileges, packet filter, other programs. Pure.
#include "app/check.h"
#include "app/config.h"
#include "app/doctor_facts.h"

namespace proxyvpn::app {

// `up`: a daemon of ours runs, so its device and table are there rightly.
Checks check_host(const Config& config, const DoctorFacts& facts, bool up);

}  // namespace proxyvpn::app
