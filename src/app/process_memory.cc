#include "app/process_memory.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <string>

#include "base/unique_fd.h"

namespace proxyvpn::app {

std::optional<std::uint64_t> resident_pages(std::string_view statm) {
  const std::size_t space = statm.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  const std::string_view rest = statm.substr(space + 1);
  std::uint64_t pages = 0;
  const auto read = std::from_chars(rest.data(), rest.data() + rest.size(), pages);
  if (read.ec != std::errc{}) return std::nullopt;
  return pages;
}

std::optional<std::uint64_t> resident_bytes(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/statm";
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char text[128];
  const ssize_t n = file ? ::read(file.get(), text, sizeof text) : -1;
  if (n <= 0) return std::nullopt;
  const auto pages = resident_pages({text, static_cast<std::size_t>(n)});
  if (!pages) return std::nullopt;
  return *pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace proxyvpn::app
