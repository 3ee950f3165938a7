#include "app/control_server.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "app/control_client.h"

namespace proxyvpn::app {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class ControlServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(nullptr, ::mkdtemp(base_.data()));
    directory_.emplace(StateDir::open_or_make(base_ + "/state").value());
    reactor_.emplace(event::Reactor::open().value());
  }
  void TearDown() override {
    server_.reset();
    std::filesystem::remove_all(base_);
  }
  void open_server(Access access) {
    auto server = ControlServer::open(
        *reactor_, *directory_, access, [](const Request& request, const Peer&) {
          ControlServer::Answer answer;
          answer.text = request.verb == Verb::Down
                            ? ok_reply({})
                            : ok_reply({{"verb", std::string(to_string(request.verb))}});
          if (request.verb == Verb::Reload) answer.text.clear();
          if (request.verb == Verb::Flows) {
            for (int i = 0; i < 20; ++i) answer.descriptors.emplace_back(::dup(2));
          }
          return answer;
        });
    ASSERT_TRUE(server.has_value()) << server.error().message;
    server_ = std::move(*server);
  }
  UniqueFd connect() {
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = base_ + "/state/" + kControlName;
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    EXPECT_EQ(0, ::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address));
    return socket;
  }
  // Lets the server work until the client has the end of the stream, or nothing moves any more.
  std::string talk(const UniqueFd& socket, const std::string& request, bool* ended = nullptr) {
    EXPECT_EQ(static_cast<ssize_t>(request.size()),
              ::send(socket.get(), request.data(), request.size(), MSG_NOSIGNAL));
    for (int i = 0; i < 10; ++i) reactor_->turn(Duration::zero());
    std::string text(4096, '\0');
    const ssize_t n = ::recv(socket.get(), text.data(), text.size(), 0);
    text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    char more = 0;
    if (ended) *ended = ::recv(socket.get(), &more, 1, 0) == 0;
    return text;
  }
  Access ours() { return {::getuid(), std::nullopt}; }

  std::string base_ = "/tmp/proxyvpn-control-XXXXXX";
  std::optional<StateDir> directory_;
  std::optional<event::Reactor> reactor_;
  std::unique_ptr<ControlServer> server_;
};

TEST_F(ControlServerTest, AnswersOneRequestAndCloses) {
  open_server(ours());
  bool ended = false;
  EXPECT_EQ("ok\nverb status\n", talk(connect(), "status\n", &ended));
  EXPECT_TRUE(ended);
}

TEST_F(ControlServerTest, RefusesWhatIsNoRequest) {
  open_server(ours());
  bool ended = false;
  EXPECT_THAT(talk(connect(), "format c:\n", &ended), StartsWith("error: unknown request"));
  EXPECT_TRUE(ended);
  EXPECT_THAT(talk(connect(), std::string(300, 'a')), StartsWith("error: the request is too long"));
}

TEST_F(ControlServerTest, DownStaysOpenUntilTheEnd) {
  open_server(ours());
  const UniqueFd socket = connect();
  bool ended = true;
  EXPECT_EQ("ok\n", talk(socket, "down\n", &ended));
  EXPECT_FALSE(ended);
  server_->finish("done open\n");
  server_.reset();
  char text[64] = {};
  EXPECT_EQ(10, ::recv(socket.get(), text, sizeof text, 0));
  EXPECT_STREQ("done open\n", text);
  EXPECT_EQ(0, ::recv(socket.get(), text, sizeof text, 0));
}

TEST_F(ControlServerTest, AnAnswerMayComeLater) {
  open_server(ours());
  const UniqueFd socket = connect();
  const UniqueFd other = connect();
  bool ended = true;
  EXPECT_EQ("", talk(socket, "reload\n", &ended));
  EXPECT_FALSE(ended);
  EXPECT_EQ("ok\n", talk(other, "down\n"));
  server_->finish(Verb::Reload, ok_reply({{"applied", "dns"}}));
  std::string text(100, '\0');
  text.resize(static_cast<std::size_t>(
      std::max<ssize_t>(0, ::recv(socket.get(), text.data(), text.size(), 0))));
  EXPECT_EQ(text, "ok\napplied dns\n");
  char more = 0;
  EXPECT_EQ(0, ::recv(socket.get(), &more, 1, 0));
  EXPECT_EQ(-1, ::recv(other.get(), &more, 1, 0)) << "who waits for the end is not answered";
}

TEST_F(ControlServerTest, StrangersAreRefusedInWords) {
  if (::getuid() == 0) {
    // Root may always: ask as somebody else.
    open_server({4711, std::nullopt});
    ASSERT_EQ(0, ::chmod(base_.c_str(), 0755));
    ASSERT_EQ(0, ::chmod((base_ + "/state").c_str(), 0755));
    ASSERT_EQ(0, ::chmod((base_ + "/state/control").c_str(), 0666));
    const pid_t child = ::fork();
    if (child == 0) {
      if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(9);
      const auto reply = ask(*directory_, {Verb::Status}, seconds(5));
      const bool refused = reply && !reply->reply.ok &&
                           reply->reply.problem.find("user 65534 may not") != std::string::npos;
      ::_exit(refused ? 0 : 1);
    }
    int status = 0;
    while (::waitpid(child, &status, WNOHANG) == 0) reactor_->turn(milliseconds(20));
    EXPECT_EQ(0, WEXITSTATUS(status));
    return;
  }
  open_server({::getuid() + 1, std::nullopt});
  EXPECT_THAT(talk(connect(), "down\n"), HasSubstr("may not command"));
}

TEST_F(ControlServerTest, IsClosedToOthersFromBirth) {
  open_server(ours());
  struct stat info {};
  ASSERT_EQ(0, ::stat((base_ + "/state/control").c_str(), &info));
  EXPECT_EQ(0u, info.st_mode & 07u);
  ASSERT_EQ(0, ::stat((base_ + "/state").c_str(), &info));
  EXPECT_EQ(0u, info.st_mode & 027u);
}

TEST_F(ControlServerTest, ReplacesWhatADeadOneLeftAndFollowsNoLink) {
  const std::string victim = base_ + "/victim";
  UniqueFd file(::open(victim.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  ASSERT_EQ(0, ::symlink(victim.c_str(), (base_ + "/state/control").c_str()));
  open_server(ours());
  EXPECT_EQ("ok\nverb ping\n", talk(connect(), "ping\n"));
  struct stat info {};
  ASSERT_EQ(0, ::stat(victim.c_str(), &info));
  EXPECT_TRUE(S_ISREG(info.st_mode));
  server_.reset();
  EXPECT_NE(0, ::lstat((base_ + "/state/control").c_str(), &info));
}

TEST_F(ControlServerTest, IsBoundedInClients) {
  open_server(ours());
  std::vector<UniqueFd> clients;
  for (std::size_t i = 0; i < ControlServer::kMostClients; ++i) {
    clients.push_back(connect());
    for (int turn = 0; turn < 3; ++turn) reactor_->turn(Duration::zero());
  }
  const UniqueFd late = connect();
  for (int turn = 0; turn < 3; ++turn) reactor_->turn(Duration::zero());
  char text[128] = {};
  ASSERT_GT(::recv(late.get(), text, sizeof text - 1, 0), 0);
  EXPECT_THAT(text, StartsWith("error: too many clients"));
  clients.clear();
  for (int turn = 0; turn < 3; ++turn) reactor_->turn(Duration::zero());
  EXPECT_EQ("ok\nverb ping\n", talk(connect(), "ping\n"));
}

TEST_F(ControlServerTest, DescriptorsComeBesideTheReply) {
  open_server({::getuid(), std::nullopt});
  auto client = ControlClient::connect(*directory_);
  ASSERT_TRUE(client.has_value());
  ASSERT_TRUE(client->send({Verb::Flows}).has_value());
  for (int i = 0; i < 10; ++i) reactor_->turn(Duration::zero());
  ASSERT_TRUE(client->wait(ControlClient::Progress::End, seconds(5)).has_value());
  EXPECT_EQ("ok\nverb flows\n", client->text());
  const auto descriptors = client->take_descriptors();
  EXPECT_EQ(20u, descriptors.size());
  for (const auto& fd : descriptors) EXPECT_GE(::fcntl(fd.get(), F_GETFD), 0);
}

TEST_F(ControlServerTest, ClientsSeeThatNobodyIsThere) {
  const auto reply = ask(*directory_, {Verb::Ping}, seconds(1));
  ASSERT_FALSE(reply.has_value());
  EXPECT_EQ(Code::NotFound, reply.error().code);
}

TEST_F(ControlServerTest, TheLockIsHeldOnceAndNamesItsHolder) {
  EXPECT_FALSE(InstanceLock::holder(*directory_).has_value());
  const auto lock = InstanceLock::take(*directory_);
  ASSERT_TRUE(lock.has_value());
  // Another process, as a record lock does not conflict with its own.
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) {
    const auto second = InstanceLock::take(*directory_);
    const bool busy = !second && second.error().code == Code::Busy &&
                      second.error().message.find(std::to_string(parent)) != std::string::npos;
    ::_exit(busy && InstanceLock::holder(*directory_) == parent ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(child, ::waitpid(child, &status, 0));
  EXPECT_EQ(0, WEXITSTATUS(status));
}

TEST_F(ControlServerTest, FilesOfTheDirectoryAreReplacedWholeAndBounded) {
  ASSERT_TRUE(directory_->write_file("state", "one").has_value());
  ASSERT_TRUE(directory_->write_file("state", "two").has_value());
  EXPECT_EQ("two", directory_->read_file("state", 10).value());
  EXPECT_FALSE(directory_->read_file("state", 2).has_value());
  EXPECT_FALSE(directory_->read_file("nothing", 10).has_value());
  ASSERT_EQ(0, ::symlink("/etc/passwd", (base_ + "/state/link").c_str()));
  EXPECT_FALSE(directory_->read_file("link", 100000).has_value());
  EXPECT_TRUE(directory_->remove_file("link").has_value());
  EXPECT_TRUE(directory_->remove_file("link").has_value());
}

TEST_F(ControlServerTest, DirectoriesOfOthersAreRefused) {
  ASSERT_EQ(0, ::symlink("/tmp", (base_ + "/link").c_str()));
  EXPECT_FALSE(StateDir::open_or_make(base_ + "/link").has_value());
  ASSERT_EQ(0, ::mkdir((base_ + "/open").c_str(), 0700));
  ASSERT_EQ(0, ::chmod((base_ + "/open").c_str(), 0777));
  const auto open = StateDir::open_or_make(base_ + "/open");
  ASSERT_FALSE(open.has_value());
  EXPECT_THAT(open.error().message, HasSubstr("can be written to by others"));
  EXPECT_FALSE(StateDir::open_or_make(base_ + "/a/b").has_value());
}

}  // namespace
}  // namespace proxyvpn::app
