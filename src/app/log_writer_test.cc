#include "app/log_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <string>

#include "base/log.h"

namespace proxyvpn::app {
namespace {

struct Pipe {
  UniqueFd reader;
  UniqueFd writer;
  explicit Pipe(int flags = O_CLOEXEC) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), flags) != 0) return;
    reader = UniqueFd(ends[0]);
    writer = UniqueFd(ends[1]);
  }
  // Everything up to the end; the write end here is closed first.
  std::string rest() {
    writer.reset();
    std::string text;
    std::array<char, 4096> buffer{};
    for (;;) {
      const auto n = ::read(reader.get(), buffer.data(), buffer.size());
      if (n <= 0) return text;
      text.append(buffer.data(), static_cast<std::size_t>(n));
    }
  }
};

bool put(int fd, const std::string& text) {
  return ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

TEST(LogWriter, WritesWhatItReadsInOrder) {
  Pipe out;
  auto writer = LogWriter::start(out.writer.get());
  ASSERT_TRUE(writer) << writer.error().message;
  EXPECT_NE(::fcntl(writer->fd(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(::fcntl(writer->fd(), F_GETFD), FD_CLOEXEC);
  log::set_output(writer->fd());
  for (int i = 0; i < 100; ++i) log::info("line", {{"number", i}});
  log::set_output(2);
  EXPECT_TRUE(writer->finish(seconds(10)));
  std::string expected;
  for (int i = 0; i < 100; ++i) expected += "proxyvpn: line number=" + std::to_string(i) + "\n";
  EXPECT_EQ(out.rest(), expected);
}

TEST(LogWriter, NobodyWaitsForAReaderThatDoesNotRead) {
  Pipe out;  // 64 KiB, and nobody reads it
  auto writer = LogWriter::start(out.writer.get());
  ASSERT_TRUE(writer);
  const std::string line(999, 'x');
  int written = 0;
  while (put(writer->fd(), line + "\n") && written < 1'000'000) ++written;
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_LT(written, 1'000'000);
  const auto before = Clock::now();
  EXPECT_FALSE(writer->finish(milliseconds(50)));
  EXPECT_LT(Clock::now() - before, seconds(10));
}

TEST(LogWriter, TheEndIsReachedAlsoWhileAnotherProcessHoldsThePipe) {
  Pipe out;
  auto writer = LogWriter::start(out.writer.get());
  ASSERT_TRUE(writer);
  const UniqueFd held(::fcntl(writer->fd(), F_DUPFD_CLOEXEC, 0));
  ASSERT_TRUE(put(held.get(), "last words\n"));
  EXPECT_TRUE(writer->finish(seconds(10)));
  EXPECT_EQ(out.rest(), "last words\n");
}

TEST(LogWriter, AnOutputThatIsGoneIsNoReasonToEnd) {
  Pipe out;
  auto writer = LogWriter::start(out.writer.get());
  ASSERT_TRUE(writer);
  out.reader.reset();
  ASSERT_TRUE(put(writer->fd(), "nobody reads this\n"));
  out.writer.reset();
  EXPECT_TRUE(writer->finish(seconds(10)));
}

TEST(LogWriter, TheSignalsOfATerminalDoNotEndIt) {
  Pipe out;
  // A process group of its own gets what Ctrl-C sends: to everybody in it.
  const pid_t group = ::fork();
  if (group == 0) {
    ::setpgid(0, 0);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) ::signal(signal, SIG_IGN);
    auto writer = LogWriter::start(out.writer.get());
    if (!writer || !put(writer->fd(), "before\n")) ::_exit(1);
    // What it has written shows that it is ready for signals.
    std::array<char, 7> seen{};
    if (::read(out.reader.get(), seen.data(), seen.size()) != 7) ::_exit(2);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) ::kill(0, signal);
    if (!put(writer->fd(), "after\n")) ::_exit(3);
    ::_exit(writer->finish(seconds(10)) ? 0 : 4);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(group, &status, 0), group);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(out.rest(), "after\n");
}

TEST(LogWriter, AParentThatIsKilledStillHasItsLastLineWritten) {
  Pipe out;
  const pid_t parent = ::fork();
  if (parent == 0) {
    auto writer = LogWriter::start(out.writer.get());
    if (!writer || !put(writer->fd(), "fatal\n")) ::_exit(1);
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(parent, &status, 0), parent);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(out.rest(), "fatal\n");  // comes to its end when the writer has ended
}

}  // namespace
}  // namespace proxyvpn::app
