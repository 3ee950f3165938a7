#include "app/state_file.h"

#include <gtest/gtest.h>

namespace proxyvpn::app {
namespace {

StateFile example() {
  StateFile state;
  state.pid = 4711;
  state.started = 1'700'000'000;
  state.step = "TUN device";
  state.tun_name = "tun0";
  state.proxy = "http://alice@proxy.example:8080";
  state.made_directory = true;
  return state;
}

TEST(StateFile, IsReadAsItWasWritten) {
  EXPECT_EQ(example(), parse_state(to_text(example())).value());
}

TEST(StateFile, ValuesCannotAddLines) {
  auto state = example();
  state.proxy = "a\npid=1";
  EXPECT_EQ("a?pid=1", parse_state(to_text(state)).value().proxy);
}

TEST(StateFile, OfALaterVersionIsStillUnderstood) {
  EXPECT_EQ(7, parse_state("proxyvpn-state 1\npid=7\ncolour=blue\n").value().pid);
}

TEST(StateFile, CorruptOnesAreRefused) {
  const std::string good = to_text(example());
  for (std::size_t cut = 0; cut < good.size(); ++cut) {
    const auto parsed = parse_state(good.substr(0, cut));
    // A cut at a line's end is a shorter file; anywhere else it is noticed.
    EXPECT_EQ(cut > 0 && good[cut - 1] == '\n', parsed.has_value()) << cut;
  }
  for (const std::string text :
       {"proxyvpn-state 2\npid=1\n", "proxyvpn-state 1\npid=-1\n", "proxyvpn-state 1\npid=1x\n",
        "proxyvpn-state 1\npid=99999999999999\n", "proxyvpn-state 1\nnonsense\n",
        "proxyvpn-state 1\ntun=a-name-that-is-too-long\n", "proxyvpn-state 1\ntun=../etc\n",
        "proxyvpn-state 1\nstep=a\x01\n"}) {
    EXPECT_FALSE(parse_state(text).has_value()) << text;
  }
  EXPECT_FALSE(parse_state("proxyvpn-state 1\n" + std::string(kMaxStateFile, 'a') + "\n"));
}

}  // namespace
}  // namespace proxyvpn::app
