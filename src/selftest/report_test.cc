#include "selftest/report.h"

#include <gtest/gtest.h>

#include <set>

namespace proxyvpn::selftest {
namespace {

TEST(Report, RulesAndRoutesInTheSyntaxOfIp) {
  netlink::Snapshot snapshot;
  snapshot.rules = {"0: from all lookup local", "200: from all fwmark 0x1/0x3 lookup 28790"};
  snapshot.routes = {"default dev tun0 table 28790 proto 112"};
  EXPECT_EQ(
      "ip rule\n"
      "  0: from all lookup local\n"
      "  200: from all fwmark 0x1/0x3 lookup 28790\n"
      "ip -6 rule\n"
      "  (none)\n"
      "ip route show table all (without local, main, default)\n"
      "  default dev tun0 table 28790 proto 112\n",
      to_text(snapshot));
}

TEST(Report, EachStepHasAnExitCodeOfItsOwnThatTheHelpKnows) {
  std::set<int> codes;
  for (const auto step : {probe::Step::Send, probe::Step::Wait, probe::Step::ReachProxy,
                          probe::Step::ProxyRefused, probe::Step::Answer, probe::Step::Rcode}) {
    codes.insert(exit_code(step));
    EXPECT_NE(std::string::npos,
              exit_code_help().find("  " + std::to_string(exit_code(step)) + "  "));
  }
  EXPECT_EQ((std::set<int>{11, 12, 13, 14, 15, 16}), codes);
}

}  // namespace
}  // namespace proxyvpn::selftest
