#include "app/password_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>

#include "base/unique_fd.h"

namespace proxyvpn::app {
namespace {

constexpr std::size_t kLongestPassword = 4096;

// Echo off while a person types, back as it was afterwards.
class NoEcho {
 public:
  explicit NoEcho(int fd) noexcept : fd_(fd) {
    active_ = ::tcgetattr(fd_, &before_) == 0;
    if (!active_) return;
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    ::tcsetattr(fd_, TCSAFLUSH, &quiet);
  }
  ~NoEcho() {
    if (!active_) return;
    ::tcsetattr(fd_, TCSAFLUSH, &before_);
    say("\n");
  }
  NoEcho(const NoEcho&) = delete;
  NoEcho& operator=(const NoEcho&) = delete;

  // A prompt that cannot be written is no reason not to read the answer.
  static void say(std::string_view text) noexcept {
    [[maybe_unused]] const auto n = ::write(STDERR_FILENO, text.data(), text.size());
  }

 private:
  int fd_;
  bool active_ = false;
  termios before_{};
};

// Reads to the end, or to the end of the line on a terminal; one byte more than allowed at most.
Result<std::string> read_all(int fd, bool one_line, const std::string& source) {
  std::string text;
  std::array<char, 512> buffer{};
  while (text.size() <= kLongestPassword) {
    const auto n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "reading the password from " + source);
    if (n == 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(n));
    if (one_line && text.ends_with('\n')) break;
  }
  wipe(buffer.data(), buffer.size());
  return text;
}

void strip_newline(std::string& text) {
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
}

Result<PasswordFile> read_standard_input() {
  const std::string source = "standard input (--password-file -)";
  const bool terminal = ::isatty(STDIN_FILENO) == 1;
  if (terminal) NoEcho::say("Password for the proxy: ");
  std::optional<NoEcho> quiet;
  if (terminal) quiet.emplace(STDIN_FILENO);
  auto text = read_all(STDIN_FILENO, terminal, source);
  if (!text) return tl::unexpected(text.error());
  strip_newline(*text);
  auto password = checked_password(std::move(*text), source);
  if (!password) return tl::unexpected(password.error());
  return PasswordFile{std::move(*password), {}};
}

}  // namespace

Result<Secret> checked_password(std::string text, const std::string& source) {
  std::string problem;
  if (text.size() > kLongestPassword) {
    problem = "is longer than 4096 bytes";
  } else if (text.find('\n') != std::string::npos) {
    problem = "has more than one line";
  } else if (std::any_of(text.begin(), text.end(),
                         [](unsigned char c) { return c < 0x20 || c == 0x7f; })) {
    problem = "has a control character in it";
  }
  Secret secret(text);
  wipe(text);
  if (problem.empty()) return secret;
  return fail(Code::InvalidArgument, "the password from " + source + " " + problem +
                                         "; an HTTP proxy takes one line of text (RFC 7617)");
}

Result<PasswordFile> read_password_file(const std::string& path) {
  if (path == "-") return read_standard_input();
  const std::string source = "--password-file " + path;
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!file) return fail_errno(errno, source + " cannot be opened");
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return fail_errno(errno, source + " cannot be read");
  if (S_ISDIR(status.st_mode)) {
    return fail(Code::InvalidArgument, source + " is a directory; give the file in it");
  }
  auto text = read_all(file.get(), false, source);
  if (!text) return tl::unexpected(text.error());
  strip_newline(*text);
  auto password = checked_password(std::move(*text), source);
  if (!password) return tl::unexpected(password.error());
  PasswordFile result{std::move(*password), {}};
  if (S_ISREG(status.st_mode) && (status.st_mode & S_IROTH) != 0) {
    result.warning = "the password file " + path +
                     " can be read by every user of this machine; run: chmod o-rwx " + path;
  }
  return result;
}

}  // namespace proxyvpn::app
