#include "netlink/netlink_socket.h"

#include <netlink/errno.h>
#include <netlink/handlers.h>
#include <netlink/socket.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>

namespace proxyvpn::netlink {
namespace {

// The kernel fills dump buffers of at most 32 KiB; one link with many virtual functions is larger.
constexpr std::size_t kReceiveBuffer = 65536;

struct FreeCallbacks {
  void operator()(nl_cb* callbacks) const noexcept { nl_cb_put(callbacks); }
};

// NLMSGERR_ATTR_MSG behind an error or the end of a dump: the kernel's own sentence, or nothing.
std::string kernel_words(const nlmsghdr* header, std::size_t offset) {
  if ((header->nlmsg_flags & NLM_F_ACK_TLVS) == 0) return {};
  if (header->nlmsg_len < NLMSG_HDRLEN + offset) return {};
  const auto* begin = static_cast<const std::uint8_t*>(nlmsg_data(header)) + offset;
  const int length = static_cast<int>(header->nlmsg_len - NLMSG_HDRLEN - offset);
  const nlattr* words = nla_find(reinterpret_cast<const nlattr*>(begin), length, NLMSGERR_ATTR_MSG);
  if (words == nullptr) return {};
  const char* text = static_cast<const char*>(nla_data(words));
  return {text, ::strnlen(text, static_cast<std::size_t>(nla_len(words)))};
}

void set_option(int fd, int level, int option) noexcept {
  const int on = 1;
  // Ignored where the kernel is too old for the option: answers are then less exact, not wrong.
  (void)::setsockopt(fd, level, option, &on, sizeof on);
}

tl::unexpected<Error> system_error(int err, const std::string& doing, const std::string& words) {
  auto result = fail_errno(err, doing);
  if (!words.empty()) result.value().message += " (" + words + ")";
  if (err == EPERM) result.value().message += " (CAP_NET_ADMIN is needed)";
  return result;
}

}  // namespace

struct NetlinkSocket::Exchange {
  const Visit* visit = nullptr;
  std::uint32_t sequence = 0;
  TimePoint deadline{};
  bool done = false;
  bool late = false;
  bool interrupted = false;
  int err = 0;  // positive errno
  std::string words;

  static Exchange& of(void* self) { return *static_cast<Exchange*>(self); }
  static int on_message(nl_msg* message, void* self) noexcept {
    Exchange& exchange = of(self);
    if (nlmsg_get_src(message)->nl_pid != 0) return NL_SKIP;  // not from the kernel
    if (Clock::now() > exchange.deadline) {
      exchange.late = true;
      return NL_STOP;
    }
    if (exchange.visit != nullptr && *exchange.visit) (*exchange.visit)(nlmsg_hdr(message));
    return NL_OK;
  }
  static int on_finish(nl_msg* message, void* self) noexcept {
    Exchange& exchange = of(self);
    const nlmsghdr* header = nlmsg_hdr(message);
    // NLMSG_DONE carries the dump's own result, which libnl doesn't look at.
    if (const int* result = header_of<int>(header); result != nullptr && *result < 0) {
      exchange.err = -*result;
      exchange.words = kernel_words(header, sizeof(int));
    }
    exchange.done = true;
    return NL_STOP;
  }
  static int on_ack(nl_msg*, void* self) noexcept {
    of(self).done = true;
    return NL_STOP;
  }
  static int on_error(sockaddr_nl*, nlmsgerr* error, void* self) noexcept {
    Exchange& exchange = of(self);
    const auto* header = reinterpret_cast<const nlmsghdr*>(
        reinterpret_cast<const std::uint8_t*>(error) - NLMSG_HDRLEN);
    const bool capped = (header->nlmsg_flags & NLM_F_CAPPED) != 0;
    const std::size_t echoed =
        capped || error->msg.nlmsg_len < NLMSG_HDRLEN ? 0 : error->msg.nlmsg_len - NLMSG_HDRLEN;
    exchange.err = -error->error;
    exchange.words = kernel_words(header, sizeof(nlmsgerr) + NLMSG_ALIGN(echoed));
    exchange.done = true;
    return NL_STOP;
  }
  static int on_interrupted(nl_msg*, void* self) noexcept {
    of(self).interrupted = true;
    return NL_OK;
  }
  // Answers to an exchange that was given up are passed over.
  static int on_sequence(nl_msg* message, void* self) noexcept {
    return nlmsg_hdr(message)->nlmsg_seq == of(self).sequence ? NL_OK : NL_SKIP;
  }
};

Result<SocketHandle> NetlinkSocket::connect(int protocol) {
  SocketHandle socket(nl_socket_alloc());
  if (!socket) return fail_errno(ENOMEM, "netlink socket");
  nl_socket_disable_msg_peek(socket.get());
  nl_socket_set_msg_buf_size(socket.get(), kReceiveBuffer);
  if (const int rc = nl_connect(socket.get(), protocol); rc < 0) {
    return fail(
        rc == -NLE_PROTO_MISMATCH || rc == -NLE_AF_NOSUPPORT ? Code::Unsupported : Code::System,
        "socket(AF_NETLINK, " + std::to_string(protocol) + "): " + nl_geterror(rc));
  }
  const int fd = nl_socket_get_fd(socket.get());
  set_option(fd, SOL_NETLINK, NETLINK_EXT_ACK);
  set_option(fd, SOL_NETLINK, NETLINK_CAP_ACK);
  set_option(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK);  // the kernel filters dumps
  timeval limit{};
  limit.tv_sec = kLimit.count();
  if (::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0)
    return fail_errno(errno, "setsockopt(SO_RCVTIMEO) on a netlink socket");
  return socket;
}

Result<NetlinkSocket> NetlinkSocket::open(int protocol) {
  auto socket = connect(protocol);
  if (!socket) return tl::unexpected(socket.error());
  return NetlinkSocket(protocol, std::move(*socket));
}

Result<> NetlinkSocket::converse(Message& message, const std::string& doing, Exchange& exchange) {
  std::unique_ptr<nl_cb, FreeCallbacks> callbacks(nl_cb_alloc(NL_CB_CUSTOM));
  if (!callbacks || !message.ok()) return fail_errno(ENOMEM, doing);
  nl_cb* cb = callbacks.get();
  nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, Exchange::on_message, &exchange);
  nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, Exchange::on_finish, &exchange);
  nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, Exchange::on_ack, &exchange);
  nl_cb_set(cb, NL_CB_DUMP_INTR, NL_CB_CUSTOM, Exchange::on_interrupted, &exchange);
  nl_cb_set(cb, NL_CB_SEQ_CHECK, NL_CB_CUSTOM, Exchange::on_sequence, &exchange);
  nl_cb_err(cb, NL_CB_CUSTOM, Exchange::on_error, &exchange);

  nlmsghdr* header = nlmsg_hdr(message.get());
  header->nlmsg_seq = exchange.sequence = nl_socket_use_seq(socket_.get());
  header->nlmsg_flags = static_cast<std::uint16_t>(header->nlmsg_flags | NLM_F_REQUEST | NLM_F_ACK);
  exchange.deadline = Clock::now() + kLimit;
  if (::send(nl_socket_get_fd(socket_.get()), header, header->nlmsg_len, 0) < 0)
    return system_error(errno, doing, {});
  while (!exchange.done && !exchange.late) {
    const int rc = nl_recvmsgs(socket_.get(), cb);
    if (rc == -NLE_AGAIN) exchange.late = true;
    if (rc < 0 && !exchange.done && !exchange.late)
      return fail(Code::System, doing + ": reading the kernel's answer: " + nl_geterror(rc));
  }
  if (exchange.late && !exchange.done)
    return fail(Code::Timeout, doing + ": no complete answer from the kernel within " +
                                   std::to_string(kLimit.count()) + " s");
  if (exchange.err != 0) return system_error(exchange.err, doing, exchange.words);
  return {};
}

Result<> NetlinkSocket::exchange(Message& message, const std::string& doing, Exchange& exchange) {
  auto result = converse(message, doing, exchange);
  if (!result && !exchange.done) {
    // A dump that was given up keeps the socket busy (EBUSY): begin with a new one.
    if (auto fresh = connect(protocol_)) socket_ = std::move(*fresh);
  }
  return result;
}

Result<> NetlinkSocket::request(Message& message, const std::string& doing, const Visit& visit) {
  Exchange one;
  one.visit = &visit;
  return exchange(message, doing, one);
}

Result<> NetlinkSocket::dump(Message& message, const std::string& doing, const Visit& visit,
                             const std::function<void()>& restart) {
  if (message.ok()) nlmsg_hdr(message.get())->nlmsg_flags |= NLM_F_DUMP;
  for (int attempt = 0;; ++attempt) {
    Exchange one;
    one.visit = &visit;
    auto result = exchange(message, doing, one);
    if (!result || !one.interrupted || attempt == kRestarts) return result;
    restart();
  }
}

}  // namespace proxyvpn::netlink
