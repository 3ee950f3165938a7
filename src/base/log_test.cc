#include "base/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/unique_fd.h"

namespace proxyvpn::log {
namespace {

TEST(Log, QuotesAndEscapesValues) {
  EXPECT_EQ(
      format(Level::Info, "tunnel open", {{"id", 7}, {"to", "a b"}, {"x", "1\n2\"\\"}, {"e", ""}}),
      R"(proxyvpn: tunnel open id=7 to="a b" x="1\x0a2\"\\" e="")");
  EXPECT_EQ(format(Level::Error, "x\x1b[31m", {}), "proxyvpn: error: x\\x1b[31m");
}

TEST(Log, AFullPipeLosesLinesAndSaysHowMany) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_NONBLOCK), 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  set_output(writer.get());
  std::string page(4096, 'x');
  while (::write(writer.get(), page.data(), page.size()) > 0) {
  }
  warning("lost one");
  warning("lost two");
  while (::read(reader.get(), page.data(), page.size()) > 0) {
  }
  warning("after");
  std::string got(4096, '\0');
  const auto n = ::read(reader.get(), got.data(), got.size());
  set_output(2);
  ASSERT_GT(n, 0);
  got.resize(static_cast<std::size_t>(n));
  EXPECT_EQ(got,
            "proxyvpn: warning: log lines lost, the reader was too slow lines=2\nproxyvpn: "
            "warning: after\n");
}

}  // namespace
}  // namespace proxyvpn::log
