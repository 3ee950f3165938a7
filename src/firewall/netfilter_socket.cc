#include "firewall/netfilter_socket.h"

#include <libnftnl/common.h>
#include <libnftnl/gen.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>
#include <optional>

namespace proxyvpn::firewall {
namespace {

constexpr std::size_t kLargestMessage = std::size_t{128} * 1024;  // attributes are 64 KiB at most
constexpr std::size_t kReceiveBuffer = std::size_t{64} * 1024;
constexpr int kSocketBuffer = 4 * 1024 * 1024;
constexpr timeval kLongestWait{5, 0};
constexpr int kInterruptedDumps = 10;

// The kernel's own words about a refused message (NETLINK_EXT_ACK, NLMSGERR_ATTR_MSG).
std::string kernel_words(const nlmsghdr* message) {
  std::string words;
  if ((message->nlmsg_flags & NLM_F_ACK_TLVS) == 0) return words;
  const auto* error = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message));
  std::size_t offset = sizeof *error;
  if ((message->nlmsg_flags & NLM_F_CAPPED) == 0)
    offset += error->msg.nlmsg_len - sizeof error->msg;
  const auto parse = [](const nlattr* attribute, void* out) -> int {
    if (mnl_attr_get_type(attribute) == NLMSGERR_ATTR_MSG &&
        mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) >= 0)
      *static_cast<std::string*>(out) = mnl_attr_get_str(attribute);
    return MNL_CB_OK;
  };
  if (mnl_nlmsg_get_payload_len(message) > offset)
    mnl_attr_parse(message, static_cast<unsigned>(offset), parse, &words);
  return words;
}

std::string with_kernel_words(const std::string& what, const nlmsghdr* message) {
  const std::string words = kernel_words(message);
  return words.empty() ? what : what + " (the kernel says: " + words + ")";
}

void set_option(int fd, int level, int option, int value) {
  // Kernels that do not know an option work without it.
  (void)::setsockopt(fd, level, option, &value, sizeof value);
}

}  // namespace

Batch::Batch() : scratch_(kLargestMessage) {}

void Batch::add(int type, int family, int flags, std::string what, const Fill& fill) {
  nlmsghdr* header = nftnl_nlmsg_build_hdr(
      scratch_.data(), static_cast<std::uint16_t>(type), static_cast<std::uint16_t>(family),
      static_cast<std::uint16_t>(flags), static_cast<std::uint32_t>(steps_.size()));
  if (fill) fill(header);
  steps_.push_back({type, std::move(what), bytes_.size()});
  const std::size_t length = (std::size_t{header->nlmsg_len} + 3) & ~std::size_t{3};
  bytes_.insert(bytes_.end(), scratch_.data(), scratch_.data() + length);
}

NetfilterSocket::NetfilterSocket(mnl_socket* socket)
    : socket_(socket), request_(kLargestMessage), answer_(kReceiveBuffer) {}

Result<NetfilterSocket> NetfilterSocket::open() {
  mnl_socket* raw = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
  if (raw == nullptr)
    return fail_errno(errno, "cannot open a netlink socket for the packet filter");
  NetfilterSocket socket(raw);
  if (mnl_socket_bind(raw, 0, MNL_SOCKET_AUTOPID) < 0)
    return fail_errno(errno, "cannot bind a netlink socket for the packet filter");
  const int fd = mnl_socket_get_fd(raw);
  if (::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kLongestWait, sizeof kLongestWait) < 0)
    return fail_errno(errno, "cannot bound the wait for the packet filter");
  set_option(fd, SOL_NETLINK, NETLINK_EXT_ACK, 1);
  set_option(fd, SOL_NETLINK, NETLINK_CAP_ACK, 1);
  set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, kSocketBuffer);
  auto generation = socket.generation();
  if (!generation && generation.error().code == Code::Permission)
    return wrap(generation.error(), "the packet filter needs CAP_NET_ADMIN");
  if (!generation) {
    return fail(Code::Unsupported, "this kernel does not answer for nf_tables (" +
                                       generation.error().message +
                                       "); the module is nf_tables, CONFIG_NF_TABLES");
  }
  return socket;
}

std::uint32_t NetfilterSocket::port() const { return mnl_socket_get_portid(socket_.get()); }

// Writes sequence numbers, asks for an answer to the last message, sends. Returns the number of
// the first message.
std::uint32_t NetfilterSocket::send_batch(Batch& batch, int& err) {
  char edge[2][2 * (sizeof(nlmsghdr) + sizeof(nfgenmsg))] = {};
  nlmsghdr* begin = nftnl_batch_begin(edge[0], ++sequence_);
  const std::uint32_t first = sequence_ + 1;
  for (const Batch::Step& step : batch.steps_) {
    nlmsghdr header{};
    std::memcpy(&header, batch.bytes_.data() + step.offset, sizeof header);
    header.nlmsg_seq = ++sequence_;
    if (&step == &batch.steps_.back()) header.nlmsg_flags |= NLM_F_ACK;
    std::memcpy(batch.bytes_.data() + step.offset, &header, sizeof header);
  }
  nlmsghdr* end = nftnl_batch_end(edge[1], ++sequence_);
  std::vector<std::uint8_t> bytes;
  bytes.reserve(begin->nlmsg_len + batch.bytes_.size() + end->nlmsg_len);
  const auto append = [&bytes](const void* data, std::size_t length) {
    const auto* from = static_cast<const std::uint8_t*>(data);
    bytes.insert(bytes.end(), from, from + length);
  };
  append(edge[0], begin->nlmsg_len);
  append(batch.bytes_.data(), batch.bytes_.size());
  append(edge[1], end->nlmsg_len);
  set_option(mnl_socket_get_fd(socket_.get()), SOL_SOCKET, SO_SNDBUFFORCE,
             static_cast<int>(bytes.size() + kLargestMessage));
  err = mnl_socket_sendto(socket_.get(), bytes.data(), bytes.size()) < 0 ? errno : 0;
  return first;
}

tl::unexpected<BatchFailure> broken(int err, const char* what) {
  return tl::unexpected<BatchFailure>(BatchFailure{fail_errno(err, what).value(), -1});
}

// One answer about the batch whose messages have the numbers from `first` on.
void NetfilterSocket::take_answer(const nlmsghdr* header, const Batch& batch, std::uint32_t first,
                                  Answers& answers) {
  if (header->nlmsg_type != NLMSG_ERROR || header->nlmsg_seq + 1 < first) return;
  const int code = -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(header))->error;
  const std::uint32_t index = header->nlmsg_seq - first;
  const Batch::Step* step = index < batch.steps_.size() ? &batch.steps_[index] : nullptr;
  if (code != 0 || step == &batch.steps_.back()) answers.complete = true;
  // The first refusal is the cause; a batch goes on to look for more.
  if (code == 0 || answers.failure) return;
  const std::string what = step != nullptr ? step->what : "commit the rules";
  answers.failure = BatchFailure{fail_errno(code, with_kernel_words(what, header)).value(),
                                 step != nullptr ? step->type : -1};
}

tl::expected<void, BatchFailure> NetfilterSocket::commit(Batch&& batch) {
  if (batch.empty()) return {};
  int err = 0;
  const std::uint32_t first = send_batch(batch, err);
  if (err != 0) return broken(err, "cannot send the rules to the kernel");
  Answers answers;
  // The kernel works through a batch before sendto(2) returns: all answers are there already.
  for (int wait = 0;; wait = MSG_DONTWAIT) {
    const ssize_t got =
        ::recv(mnl_socket_get_fd(socket_.get()), answer_.data(), answer_.size(), wait);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (got < 0) return broken(errno, "cannot read the kernel's answer about the rules");
    int length = static_cast<int>(got);
    for (const auto* header = static_cast<const nlmsghdr*>(static_cast<void*>(answer_.data()));
         mnl_nlmsg_ok(header, length); header = mnl_nlmsg_next(header, &length))
      take_answer(header, batch, first, answers);
  }
  if (answers.failure) return tl::unexpected<BatchFailure>(std::move(*answers.failure));
  if (!answers.complete) return broken(ETIMEDOUT, "the kernel did not answer about the rules");
  return {};
}

Result<> NetfilterSocket::ask(int type, int family, int flags, const Batch::Fill& fill,
                              const Each& each) {
  Result<> result;
  // A dump that somebody's commit cut across starts again (EINTR by NLM_F_DUMP_INTR).
  for (int attempt = 0; attempt < kInterruptedDumps; ++attempt) {
    result = ask_once(type, family, flags, fill, each);
    if (result || result.error().sys_errno != EINTR) return result;
  }
  return result;
}

Result<> NetfilterSocket::ask_once(int type, int family, int flags, const Batch::Fill& fill,
                                   const Each& each) {
  nlmsghdr* header = nftnl_nlmsg_build_hdr(request_.data(), static_cast<std::uint16_t>(type),
                                           static_cast<std::uint16_t>(family),
                                           static_cast<std::uint16_t>(flags), ++sequence_);
  if (fill) fill(header);
  if (mnl_socket_sendto(socket_.get(), header, header->nlmsg_len) < 0)
    return fail_errno(errno, "cannot ask the kernel about its packet filter");
  const auto deliver = [](const nlmsghdr* message, void* data) -> int {
    (*static_cast<const Each*>(data))(message);
    return MNL_CB_OK;
  };
  const bool single = (flags & NLM_F_DUMP) == 0;
  for (;;) {
    const ssize_t got = mnl_socket_recvfrom(socket_.get(), answer_.data(), answer_.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
      return fail_errno(ETIMEDOUT, "no answer from the kernel's packet filter");
    if (got < 0) return fail_errno(errno, "cannot read the kernel's packet filter");
    Each& callback = const_cast<Each&>(each);
    const int rc = mnl_cb_run(answer_.data(), static_cast<std::size_t>(got), sequence_, port(),
                              deliver, &callback);
    if (rc < 0 && errno == ESRCH) continue;  // a late answer to an earlier request
    if (rc < 0) return fail_errno(errno, "cannot read the kernel's packet filter");
    if (rc == MNL_CB_STOP || single) return {};
  }
}

Result<std::uint32_t> NetfilterSocket::generation() {
  std::uint32_t id = 0;
  auto asked = ask(NFT_MSG_GETGEN, NFPROTO_UNSPEC, 0, {}, [&id](const nlmsghdr* message) {
    std::unique_ptr<nftnl_gen, void (*)(const nftnl_gen*)> gen(nftnl_gen_alloc(), nftnl_gen_free);
    if (gen && nftnl_gen_nlmsg_parse(message, gen.get()) == 0)
      id = nftnl_gen_get_u32(gen.get(), NFTNL_GEN_ID);
  });
  if (!asked) return tl::unexpected<Error>(asked.error());
  return id;
}

}  // namespace proxyvpn::firewall
