#include "app/log_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
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
  log::set_record_output(writer->fd());
  for (int i = 0; i < 100; ++i) log::info("line " + std::to_string(i % 10), {{"number", i}});
  log::set_output(2);
  EXPECT_TRUE(writer->finish(seconds(10)));
  std::string expected;
  for (int i = 0; i < 100; ++i) {
    expected += "proxyvpn: line " + std::to_string(i % 10) + " number=" + std::to_string(i) + "\n";
  }
  EXPECT_EQ(out.rest(), expected);
}

log::Record record(const std::string& event) {
  return {log::Level::Error, 1'700'000'000'000'000, 7, event, {{"k", "v"}}};
}

TEST(LogWriter, RecordsGetTheFormThatWasAskedFor) {
  const auto written = [](const LogStyle& style) {
    Pipe out;
    auto writer = LogWriter::start(out.writer.get(), style);
    if (!writer) return writer.error().message;
    // In pieces, as a full pipe hands them out, and with a stranger's line between.
    const auto lines =
        log::encode(record("one")) + "\nnot ours\n" + log::encode(record("two")) + "\n";
    for (const char c : lines) put(writer->fd(), std::string(1, c));
    writer->finish(seconds(10));
    return out.rest();
  };
  EXPECT_EQ(written({}), "proxyvpn: error: one k=v\nnot ours\nproxyvpn: error: two k=v\n");
  EXPECT_EQ(written({LogFormat::Json, false, false, ""}),
            json_line(record("one")) + "\nnot ours\n" + json_line(record("two")) + "\n");
  EXPECT_EQ(written({LogFormat::Text, true, false, ""}),
            log::text_line(record("one"), true) + "\nnot ours\n" +
                log::text_line(record("two"), true) + "\n");
}

// What a terminal shows in the end of text that takes lines back.
std::string screen(const std::string& text) {
  const std::string take_back = "\r\x1b[K";
  std::string shown;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.compare(i, take_back.size(), take_back) == 0) {
      shown.resize(shown.rfind('\n') == std::string::npos ? 0 : shown.rfind('\n') + 1);
      i += take_back.size() - 1;
    } else {
      shown += text[i];
    }
  }
  return shown;
}

TEST(LogWriter, ProgressIsALineOfATerminalThatGoesAgain) {
  const auto written = [](const LogStyle& style) {
    Pipe out;
    auto writer = LogWriter::start(out.writer.get(), style);
    if (!writer) return writer.error().message;
    log::set_record_output(writer->fd());
    log::error("before");
    log::progress("starting: workers");
    log::error("it broke");
    log::progress("going down");
    log::set_output(2);
    writer->finish(seconds(10));
    return out.rest();
  };
  const std::string lines = "proxyvpn: error: before\nproxyvpn: error: it broke\n";
  EXPECT_EQ(written({}), lines);
  const auto text = written({LogFormat::Text, false, true, ""});
  EXPECT_NE(text.find("proxyvpn: going down"), std::string::npos);
  EXPECT_EQ(screen(text), lines);
}

TEST(LogWriter, TheJournalGetsDatagramsAndTextIsTheWayOutWithoutOne) {
  std::string directory = "/tmp/proxyvpn-journal-XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  LogStyle style{LogFormat::Journal, false, false, directory + "/socket"};
  const auto say = [&] {
    Pipe out;
    auto writer = LogWriter::start(out.writer.get(), style);
    EXPECT_TRUE(writer && put(writer->fd(), log::encode(record("one")) + "\n"));
    EXPECT_TRUE(writer->finish(seconds(10)));
    return out.rest();
  };
  EXPECT_EQ(say(), "proxyvpn: error: one k=v\n");
  const UniqueFd journal(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  style.journal_socket.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(journal.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(say(), "");
  std::array<char, 4096> got{};
  const auto n = ::recv(journal.get(), got.data(), got.size(), MSG_DONTWAIT);
  ::unlink(style.journal_socket.c_str());
  ::rmdir(directory.c_str());
  ASSERT_GT(n, 0);
  EXPECT_EQ(std::string(got.data(), static_cast<std::size_t>(n)), journal_datagram(record("one")));
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
