#pragma once
// One NETLINK_NETFILTER socket for nf_tables: dumps and all-or-nothing batches (libmnl).
// What it creates with NFT_TABLE_F_OWNER belongs to it until it is closed.
#include <libmnl/libmnl.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"

namespace proxyvpn::firewall {

// Room for one message, made when it is first asked for and then used again: hundreds of messages
// pass through it, and fresh memory for each would cost more than all the rest of them.
class MessageBuffer {
 public:
  explicit MessageBuffer(std::size_t size) : size_(size) {}
  // What is in it is what was left there.
  char* data() {
    if (!bytes_) bytes_ = std::make_unique_for_overwrite<char[]>(size_);
    return bytes_.get();
  }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  std::size_t size_;
  std::unique_ptr<char[]> bytes_;
};

// Messages that take effect together or not at all (NFNL_MSG_BATCH_BEGIN ... END).
class Batch {
 public:
  using Fill = std::function<void(nlmsghdr*)>;
  Batch();
  // Appends one NFT_MSG_* for a NFPROTO_*; `fill` adds its attributes, 64 KiB at most. `what` says
  // what it does, for errors.
  void add(int type, int family, int flags, std::string what, const Fill& fill);
  [[nodiscard]] bool empty() const noexcept { return steps_.empty(); }

 private:
  friend class NetfilterSocket;
  struct Step {
    int type = 0;
    std::string what;
    std::size_t offset = 0;
  };
  MessageBuffer scratch_;
  std::vector<std::uint8_t> bytes_;
  std::vector<Step> steps_;
};

struct BatchFailure {
  Error error{};
  int type = -1;  // NFT_MSG_* of the first message that was refused, -1: the batch as a whole
};

class NetfilterSocket {
 public:
  // Changes nothing. Code::Unsupported when the kernel has no nf_tables, Permission without
  // CAP_NET_ADMIN.
  static Result<NetfilterSocket> open();

  [[nodiscard]] std::uint32_t port() const;  // netlink port id: the owner of our tables
  tl::expected<void, BatchFailure> commit(Batch&& batch);

  // One request whose answer is a dump or a single message; every message goes to `each`.
  // Code::NotFound when the kernel says ENOENT. Waits 5 s at most. `each` asks nothing of this
  // socket.
  using Each = std::function<void(const nlmsghdr*)>;
  Result<> ask(int type, int family, int flags, const Batch::Fill& fill, const Each& each);
  // Number of the rule set that is in force now; changes with every commit of anybody.
  Result<std::uint32_t> generation();

 private:
  struct Close {
    void operator()(mnl_socket* socket) const noexcept { mnl_socket_close(socket); }
  };
  struct Answers {
    std::optional<BatchFailure> failure;
    bool complete = false;
  };
  explicit NetfilterSocket(mnl_socket* socket);
  static void take_answer(const nlmsghdr* header, const Batch& batch, std::uint32_t first,
                          Answers& answers);
  Result<> ask_once(int type, int family, int flags, const Batch::Fill& fill, const Each& each);
  std::uint32_t send_batch(Batch& batch, int& err);

  std::unique_ptr<mnl_socket, Close> socket_;
  MessageBuffer request_;
  MessageBuffer answer_;
  std::uint32_t sequence_ = 0;
};

}  // namespace proxyvpn::firewall
