#include "app/password_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "base/unique_fd.h"

namespace proxyvpn::app {
namespace {

class PasswordFileTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(::mkdtemp(directory_.data()), nullptr); }
  void TearDown() override {
    ::unlink(path().c_str());
    ::rmdir(directory_.c_str());
  }
  [[nodiscard]] std::string path() const { return directory_ + "/secret"; }
  void write(const std::string& content, mode_t mode = 0600) const {
    std::ofstream(path(), std::ios::binary) << content;
    ASSERT_EQ(::chmod(path().c_str(), mode), 0);
  }
  std::string directory_ = "/tmp/proxyvpn-password-XXXXXX";
};

TEST_F(PasswordFileTest, StripsOneNewlineAtTheEndAndNothingElse) {
  struct Case {
    std::string content;
    std::string password;
  };
  for (const auto& item : {Case{"secret", "secret"}, Case{"secret\n", "secret"},
                           Case{"secret\r\n", "secret"}, Case{" se cret \n", " se cret "},
                           Case{"", ""}, Case{"\n", ""}, Case{"p\xc3\xa4ss\n", "p\xc3\xa4ss"}}) {
    write(item.content);
    const auto file = read_password_file(path());
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ(file->password.reveal(), item.password);
    EXPECT_EQ(file->warning, "");
  }
}

TEST_F(PasswordFileTest, RefusesWhatCannotBeSentAndDoesNotShowIt) {
  const std::string nul("hunter2\0x", 9);
  for (const auto& content : {std::string("hunter2\n\n"), std::string("hunter2\nmore\n"), nul,
                              std::string("hunter2\ttab"), std::string(4097, 'h')}) {
    write(content);
    const auto file = read_password_file(path());
    ASSERT_FALSE(file);
    EXPECT_EQ(file.error().code, Code::InvalidArgument);
    EXPECT_NE(file.error().message.find(path()), std::string::npos) << file.error().message;
    EXPECT_EQ(file.error().message.find("hunter2"), std::string::npos) << file.error().message;
  }
}

TEST_F(PasswordFileTest, WarnsWhenEverybodyCanReadIt) {
  write("secret\n", 0644);
  const auto file = read_password_file(path());
  ASSERT_TRUE(file);
  EXPECT_EQ(file->password.reveal(), "secret");
  EXPECT_NE(file->warning.find("chmod o-rwx " + path()), std::string::npos) << file->warning;
}

TEST_F(PasswordFileTest, NamesAFileThatIsNotThereOrIsADirectory) {
  const auto missing = read_password_file(path());
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::NotFound);
  EXPECT_NE(missing.error().message.find(path()), std::string::npos);
  const auto directory = read_password_file(directory_);
  ASSERT_FALSE(directory);
  EXPECT_NE(directory.error().message.find("is a directory"), std::string::npos);
}

TEST_F(PasswordFileTest, ADashIsStandardInput) {
  int ends[2] = {};
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  ASSERT_EQ(::write(writer.get(), "from stdin\n", 11), 11);
  writer.reset();
  const UniqueFd saved(::dup(STDIN_FILENO));
  ASSERT_EQ(::dup2(reader.get(), STDIN_FILENO), STDIN_FILENO);
  const auto file = read_password_file("-");
  if (saved) {
    ::dup2(saved.get(), STDIN_FILENO);
  } else {
    ::close(STDIN_FILENO);
  }
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->password.reveal(), "from stdin");
}

}  // namespace
}  // namespace proxyvpn::app
