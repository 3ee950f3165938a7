#include "app/worker_protocol.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "app/passed_descriptors.h"

namespace proxyvpn::app {
namespace {

// The first byte of every message. Numbers are never used again for something else.
enum class Tag : std::uint8_t {
  NeedSockets = 1,
  ProxyLost = 2,
  ProxyBack = 3,
  Resolve = 4,
  Ready = 5,
  Beat = 6,
  Sockets = 65,
  ProxyAddresses = 66,
  Stop = 67,
  SetVerbose = 68,
  KillFlow = 69,
  DumpFlows = 70,
  SetOptions = 71,
  SetCredentials = 72,
};

// Appends fields; integers in the machine's own byte order, as both ends are one binary.
class MessageWriter {
 public:
  explicit MessageWriter(Tag tag) { put(static_cast<std::uint8_t>(tag)); }
  template <class T>
  requires std::is_integral_v<T> MessageWriter& put(T value) {
    std::array<std::uint8_t, sizeof(T)> raw{};
    std::memcpy(raw.data(), &value, sizeof(T));
    bytes_.insert(bytes_.end(), raw.begin(), raw.end());
    return *this;
  }
  MessageWriter& put(std::span<const std::uint8_t> raw) {
    bytes_.insert(bytes_.end(), raw.begin(), raw.end());
    return *this;
  }
  std::vector<std::uint8_t> take() { return std::move(bytes_); }

 private:
  std::vector<std::uint8_t> bytes_;
};

// Takes fields off the front. After the first that is missing or out of range everything reads as
// zero and done() is false.
class MessageReader {
 public:
  explicit MessageReader(std::span<const std::uint8_t> bytes) : rest_(bytes) {}
  template <class T>
  T take() {
    T value{};
    const auto raw = take_bytes(sizeof(T));
    if (raw.size() == sizeof(T)) std::memcpy(&value, raw.data(), sizeof(T));
    return value;
  }
  std::span<const std::uint8_t> take_bytes(std::size_t count) {
    if (rest_.size() < count) {
      require(false);
      return {};
    }
    const auto front = rest_.first(count);
    rest_ = rest_.subspan(count);
    return front;
  }
  void require(bool good) {
    good_ = good_ && good;
    if (!good_) rest_ = {};
  }
  // Every byte was used and every check held.
  [[nodiscard]] bool done() const { return good_ && rest_.empty(); }

 private:
  std::span<const std::uint8_t> rest_;
  bool good_ = true;
};

// Nothing when bytes are missing or left over.
template <class Variant, class Message>
std::optional<Variant> whole(const MessageReader& reader, Message message) {
  if (!reader.done()) return std::nullopt;
  return Variant(std::move(message));
}

Family take_family(MessageReader& reader) {
  const auto raw = reader.take<std::uint8_t>();
  reader.require(raw == static_cast<std::uint8_t>(Family::V4) ||
                 raw == static_cast<std::uint8_t>(Family::V6));
  return raw == static_cast<std::uint8_t>(Family::V6) ? Family::V6 : Family::V4;
}

bool take_bool(MessageReader& reader) {
  const auto raw = reader.take<std::uint8_t>();
  reader.require(raw <= 1);
  return raw == 1;
}

void put_endpoint(MessageWriter& writer, const Endpoint& endpoint) {
  writer.put(static_cast<std::uint8_t>(endpoint.address.family()));
  writer.put(endpoint.address.bytes()).put(endpoint.port);
}

Endpoint take_endpoint(MessageReader& reader) {
  Endpoint endpoint;
  const auto family = take_family(reader);
  const auto raw = reader.take_bytes(family == Family::V4 ? 4 : 16);
  if (raw.size() == 4) endpoint.address = IpAddress::v4(raw.first<4>());
  if (raw.size() == 16) endpoint.address = IpAddress::v6(raw.first<16>());
  endpoint.port = reader.take<std::uint16_t>();
  reader.require(endpoint.port != 0);
  return endpoint;
}

// One overload per message, so that a new one cannot be forgotten.
struct Encoder {
  std::vector<std::uint8_t> operator()(const NeedSockets& m) const {
    return MessageWriter(Tag::NeedSockets)
        .put(static_cast<std::uint8_t>(m.family))
        .put(m.count)
        .take();
  }
  std::vector<std::uint8_t> operator()(const ProxyLost& m) const {
    return MessageWriter(Tag::ProxyLost)
        .put(static_cast<std::uint8_t>(m.trouble))
        .put(m.status)
        .put(m.sys_errno)
        .take();
  }
  std::vector<std::uint8_t> operator()(const ProxyBack&) const {
    return MessageWriter(Tag::ProxyBack).take();
  }
  std::vector<std::uint8_t> operator()(const Resolve&) const {
    return MessageWriter(Tag::Resolve).take();
  }
  std::vector<std::uint8_t> operator()(const Ready&) const {
    return MessageWriter(Tag::Ready).take();
  }
  std::vector<std::uint8_t> operator()(const Beat&) const {
    return MessageWriter(Tag::Beat).take();
  }
  std::vector<std::uint8_t> operator()(const Sockets& m) const {
    return MessageWriter(Tag::Sockets).put(static_cast<std::uint8_t>(m.family)).put(m.count).take();
  }
  std::vector<std::uint8_t> operator()(const ProxyAddresses& m) const {
    const auto count = std::min(m.endpoints.size(), kMaxProxyAddresses);
    MessageWriter writer(Tag::ProxyAddresses);
    writer.put(static_cast<std::uint8_t>(count));
    for (std::size_t i = 0; i < count; ++i) put_endpoint(writer, m.endpoints[i]);
    return writer.take();
  }
  std::vector<std::uint8_t> operator()(const Stop&) const {
    return MessageWriter(Tag::Stop).take();
  }
  std::vector<std::uint8_t> operator()(const SetVerbose& m) const {
    return MessageWriter(Tag::SetVerbose).put(static_cast<std::uint8_t>(m.verbose)).take();
  }
  std::vector<std::uint8_t> operator()(const SetOptions& m) const {
    return MessageWriter(Tag::SetOptions)
        .put(m.connect_timeout_ms)
        .put(m.preconnect)
        .put(static_cast<std::uint8_t>(m.log_level))
        .take();
  }
  std::vector<std::uint8_t> operator()(const SetCredentials& m) const {
    const auto bytes = [](std::string_view text) {
      text = text.substr(0, kMaxCredential);
      return std::span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
    };
    const auto username = bytes(m.username);
    const auto password = bytes(m.password.reveal());
    return MessageWriter(Tag::SetCredentials)
        .put(static_cast<std::uint8_t>(m.given))
        .put(static_cast<std::uint32_t>(username.size()))
        .put(username)
        .put(static_cast<std::uint32_t>(password.size()))
        .put(password)
        .take();
  }
  std::vector<std::uint8_t> operator()(const KillFlow& m) const {
    return MessageWriter(Tag::KillFlow).put(m.id).take();
  }
  std::vector<std::uint8_t> operator()(const DumpFlows& m) const {
    return MessageWriter(Tag::DumpFlows).put(m.most).take();
  }
};

std::optional<ToSupervisor> decode_need_sockets(MessageReader& reader) {
  NeedSockets message;
  message.family = take_family(reader);
  message.count = reader.take<std::uint8_t>();
  reader.require(message.count >= 1 && message.count <= kMaxSocketsPerMessage);
  return whole<ToSupervisor>(reader, message);
}

std::optional<ToSupervisor> decode_proxy_lost(MessageReader& reader) {
  ProxyLost message;
  const auto trouble = reader.take<std::uint8_t>();
  reader.require(trouble >= static_cast<std::uint8_t>(Trouble::Unreachable) &&
                 trouble <= static_cast<std::uint8_t>(Trouble::Loop));
  message.trouble = static_cast<Trouble>(trouble);
  message.status = reader.take<std::uint16_t>();
  // Three digits (RFC 9110 section 15), or none.
  reader.require(message.status == 0 || (message.status >= 100 && message.status <= 999));
  message.sys_errno = reader.take<std::uint16_t>();
  reader.require(message.sys_errno < 4096);  // MAX_ERRNO (linux/err.h) is 4095
  return whole<ToSupervisor>(reader, message);
}

std::optional<ToWorker> decode_sockets(MessageReader& reader) {
  Sockets message;
  message.family = take_family(reader);
  message.count = reader.take<std::uint8_t>();
  reader.require(message.count <= kMaxSocketsPerMessage);
  return whole<ToWorker>(reader, message);
}

std::optional<ToWorker> decode_proxy_addresses(MessageReader& reader) {
  ProxyAddresses message;
  const auto count = reader.take<std::uint8_t>();
  reader.require(count >= 1 && count <= kMaxProxyAddresses);
  for (unsigned i = 0; i < count && i < kMaxProxyAddresses; ++i) {
    message.endpoints.push_back(take_endpoint(reader));
  }
  return whole<ToWorker>(reader, std::move(message));
}

std::optional<ToWorker> decode_set_verbose(MessageReader& reader) {
  SetVerbose message;
  message.verbose = take_bool(reader);
  return whole<ToWorker>(reader, message);
}

std::optional<ToWorker> decode_set_options(MessageReader& reader) {
  SetOptions message;
  message.connect_timeout_ms = reader.take<std::uint32_t>();
  message.preconnect = reader.take<std::uint32_t>();
  reader.require(message.connect_timeout_ms != 0);
  const auto level = reader.take<std::uint8_t>();
  reader.require(level <= static_cast<std::uint8_t>(log::Level::Debug));
  message.log_level = static_cast<log::Level>(level);
  return whole<ToWorker>(reader, message);
}

std::span<const std::uint8_t> take_text(MessageReader& reader) {
  const auto size = reader.take<std::uint32_t>();
  reader.require(size <= kMaxCredential);
  return reader.take_bytes(size);
}

std::optional<ToWorker> decode_set_credentials(MessageReader& reader) {
  SetCredentials message;
  message.given = take_bool(reader);
  const auto username = take_text(reader);
  message.username.assign(username.begin(), username.end());
  const auto password = take_text(reader);
  message.password = Secret({reinterpret_cast<const char*>(password.data()), password.size()});
  return whole<ToWorker>(reader, std::move(message));
}

std::optional<ToWorker> decode_kill_flow(MessageReader& reader) {
  KillFlow message;
  message.id = reader.take<std::uint64_t>();
  return whole<ToWorker>(reader, message);
}

std::optional<ToWorker> decode_dump_flows(MessageReader& reader) {
  DumpFlows message;
  message.most = reader.take<std::uint32_t>();
  return whole<ToWorker>(reader, message);
}

}  // namespace

std::vector<std::uint8_t> encode(const ToSupervisor& message) {
  return std::visit(Encoder{}, message);
}

std::vector<std::uint8_t> encode(const ToWorker& message) { return std::visit(Encoder{}, message); }

// A tag is any byte that the peer chose, so these switches have an end for the ones that mean
// nothing in this direction.
std::optional<ToSupervisor> decode_to_supervisor(std::span<const std::uint8_t> bytes) {
  MessageReader reader(bytes);
  switch (static_cast<Tag>(reader.take<std::uint8_t>())) {
    case Tag::NeedSockets:
      return decode_need_sockets(reader);
    case Tag::ProxyLost:
      return decode_proxy_lost(reader);
    case Tag::ProxyBack:
      return whole<ToSupervisor>(reader, ProxyBack{});
    case Tag::Resolve:
      return whole<ToSupervisor>(reader, Resolve{});
    case Tag::Ready:
      return whole<ToSupervisor>(reader, Ready{});
    case Tag::Beat:
      return whole<ToSupervisor>(reader, Beat{});
    case Tag::Sockets:
    case Tag::ProxyAddresses:
    case Tag::Stop:
    case Tag::SetVerbose:
    case Tag::SetOptions:
    case Tag::SetCredentials:
    case Tag::KillFlow:
    case Tag::DumpFlows:
      return std::nullopt;
  }
  return std::nullopt;
}

std::optional<ToWorker> decode_to_worker(std::span<const std::uint8_t> bytes) {
  MessageReader reader(bytes);
  switch (static_cast<Tag>(reader.take<std::uint8_t>())) {
    case Tag::Sockets:
      return decode_sockets(reader);
    case Tag::ProxyAddresses:
      return decode_proxy_addresses(reader);
    case Tag::Stop:
      return whole<ToWorker>(reader, Stop{});
    case Tag::SetVerbose:
      return decode_set_verbose(reader);
    case Tag::SetOptions:
      return decode_set_options(reader);
    case Tag::SetCredentials:
      return decode_set_credentials(reader);
    case Tag::KillFlow:
      return decode_kill_flow(reader);
    case Tag::DumpFlows:
      return decode_dump_flows(reader);
    case Tag::NeedSockets:
    case Tag::ProxyLost:
    case Tag::ProxyBack:
    case Tag::Resolve:
    case Tag::Ready:
    case Tag::Beat:
      return std::nullopt;
  }
  return std::nullopt;
}

bool send_message(int channel, std::span<const std::uint8_t> bytes,
                  std::span<const int> descriptors) noexcept {
  if (bytes.empty() || bytes.size() > kMaxWorkerMessage ||
      descriptors.size() > kMaxSocketsPerMessage) {
    errno = EMSGSIZE;
    return false;
  }
  return send_with(channel, std::as_bytes(bytes), descriptors) ==
         static_cast<ssize_t>(bytes.size());
}

Received receive_message(int channel) {
  std::array<std::uint8_t, kMaxWorkerMessage> buffer{};
  Received received;
  const auto [got, cut] = receive_with(channel, std::as_writable_bytes(std::span(buffer)),
                                       kMaxSocketsPerMessage, received.descriptors);
  if (got < 0) {
    const bool nothing =
        errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == ENOMEM;
    received.status = nothing ? Received::Status::Nothing : Received::Status::Closed;
    return received;
  }
  if (got == 0) {  // end of the stream; an empty datagram is none of ours and ends it too
    received.status = Received::Status::Closed;
    return received;
  }
  received.status = Received::Status::Message;
  // Too long: an empty message, which decodes to nothing. Fewer descriptors than were sent
  // (MSG_CTRUNC: this process may have no more) is an ordinary event; the caller counts them.
  if (!cut) received.bytes.assign(buffer.begin(), buffer.begin() + got);
  return received;
}

}  // namespace proxyvpn::app
