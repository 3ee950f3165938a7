#pragma once
// A flow on lwIP: a held SYN first, a protocol control block (pcb) once it is accepted.
#include <cstdint>
#include <memory>

#include "base/clock.h"
#include "stack/buffers.h"
#include "stack/tcp_flow.h"
#include "stack/upload_share.h"

namespace proxyvpn::stack {

class LwipStack;

class LwipFlow final : public TcpFlow {
 public:
  enum class State : std::uint8_t {
    Held,       // the SYN waits for accept() or refuse(); no pcb
    Open,       // has a pcb, from SYN_RCVD on
    Lingering,  // the pcb is gone in good order, but there are bytes to be taken
    TimeWait,   // RFC 9293 3.6.1; nobody is interested any more
    Dead,
  };
  // Bits, which are named as constants are. NOLINTBEGIN(readability-identifier-naming)
  enum Event : std::uint8_t {
    kEstablished = 1,
    kReadable = 2,
    kWritable = 4,
    kReset = 8,
    kClosed = 16,
  };
  // NOLINTEND(readability-identifier-naming)

  LwipFlow(LwipStack& stack, const FlowKey& key) : stack_(stack), key_(key) {}
  ~LwipFlow();
  LwipFlow(const LwipFlow&) = delete;
  LwipFlow& operator=(const LwipFlow&) = delete;

  [[nodiscard]] const FlowKey& key() const noexcept override { return key_; }
  void set_handler(FlowHandler* handler) noexcept override { handler_ = handler; }
  void accept() noexcept override;
  void refuse(Refusal how) noexcept override;
  std::size_t readable(std::span<iovec> pieces) const noexcept override;
  [[nodiscard]] std::size_t readable_bytes() const noexcept override { return rx_bytes_; }
  void consume(std::size_t n) noexcept override;
  [[nodiscard]] bool read_eof() const noexcept override { return fin_received_ && rx_bytes_ == 0; }
  [[nodiscard]] std::size_t send_room() const noexcept override;
  std::span<std::uint8_t> send_buffer(std::size_t want) noexcept override;
  void commit(std::size_t n) noexcept override;
  void finish() noexcept override;
  void abort() noexcept override;

 private:
  friend class LwipStack;
  friend struct LwipCallbacks;

  // Called by lwIP's callbacks, inside the stack's guard: only notes and queues.
  void received(pbuf* p) noexcept;
  void fin_received() noexcept;
  void acknowledged(std::size_t n) noexcept;

  void push() noexcept;  // hands committed bytes, then the FIN, to lwIP
  void open_window(std::size_t consumed) noexcept;
  // Takes back an acknowledgement that lwIP is about to send: the batch's end sends one for all.
  void hold_ack(std::size_t arrived) noexcept;
  [[nodiscard]] bool ack_may_wait() const noexcept;
  [[nodiscard]] std::size_t whole_frames(std::size_t bytes) const noexcept;
  void drop_queues() noexcept;
  [[nodiscard]] bool busy() const noexcept;  // needs the TCP timers

  LwipStack& stack_;
  FlowKey key_;
  FlowHandler* handler_ = nullptr;
  tcp_pcb* pcb_ = nullptr;
  std::unique_ptr<std::uint8_t[]> syn_;  // the held packet from its IP header on
  pbuf* rx_head_ = nullptr;              // linked by `next`, one packet's chain after the other
  pbuf* rx_tail_ = nullptr;
  Chunk* tx_head_ = nullptr;
  Chunk* tx_tail_ = nullptr;
  TimePoint deadline_{};  // TimeWait: when it may go
  std::uint32_t rx_bytes_ = 0;
  std::uint32_t tx_bytes_ = 0;   // committed and not acknowledged
  std::uint32_t unwritten_ = 0;  // of these: lwIP had no memory yet
  std::uint32_t window_ = 0;   // receive window: what may be queued here and be on its way together
  std::uint32_t granted_ = 0;  // part of it that counts against the memory budget
  std::uint32_t grown_after_ = 0;  // bytes consumed since the window last grew
  UploadShare::Member upload_;
  std::uint32_t held_isn_ = 0;
  std::uint32_t busy_index_ = kNotBusy;
  std::uint32_t time_wait_index_ = 0;
  std::uint16_t syn_length_ = 0;
  std::uint16_t syn_ip_header_ = 0;
  std::uint16_t peer_mss_ = 536;
  State state_ = State::Held;
  std::uint8_t events_ = 0;  // Event bits not yet told
  bool in_dirty_ : 1 = false;
  bool in_time_wait_ : 1 = false;  // pcb_ belongs on tcp_tw_pcbs
  bool fin_received_ : 1 = false;
  bool fin_wanted_ : 1 = false;
  bool fin_sent_ : 1 = false;
  bool ack_due_ : 1 = false;  // an acknowledgement goes out at the end of the batch
  bool in_acks_ : 1 = false;
  bool stalled_ : 1 = false;  // the handler left bytes behind: copy small frames instead of pinning
  mutable bool want_writable_ : 1 = false;

  static constexpr std::uint32_t kNotBusy = 0xffffffff;
};

}  // namespace proxyvpn::stack
