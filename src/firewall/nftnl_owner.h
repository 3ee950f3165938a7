#pragma once
// Owners of libnftnl's objects.
// clang-format off: libnftnl's headers use FILE and do not include it
#include <stdio.h>
// clang-format on
#include <libnftnl/chain.h>
#include <libnftnl/expr.h>
#include <libnftnl/object.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>

#include <memory>

namespace proxyvpn::firewall {

struct FreeNftnl {
  void operator()(nftnl_table* o) const noexcept { nftnl_table_free(o); }
  void operator()(nftnl_chain* o) const noexcept { nftnl_chain_free(o); }
  void operator()(nftnl_rule* o) const noexcept { nftnl_rule_free(o); }
  void operator()(nftnl_expr_iter* o) const noexcept { nftnl_expr_iter_destroy(o); }
  void operator()(nftnl_set* o) const noexcept { nftnl_set_free(o); }
  void operator()(nftnl_set_elems_iter* o) const noexcept { nftnl_set_elems_iter_destroy(o); }
  void operator()(nftnl_obj* o) const noexcept { nftnl_obj_free(o); }
  void operator()(nftnl_udata_buf* o) const noexcept { nftnl_udata_buf_free(o); }
};

template <class T>
using Owned = std::unique_ptr<T, FreeNftnl>;

}  // namespace proxyvpn::firewall
