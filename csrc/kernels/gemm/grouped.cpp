// Products of groups of unlike size.
#include "kernels/gemm/multiply.h"

namespace fastnn::FASTNN_ISA {

namespace {

// A group's product, and how it is cut into cells.
template <class T>
struct Group {
  MatmulForwardArgs<T> product;
  Grid grid;
  int64_t cells_before;  // in the groups before it
};

template <class T>
MatmulForwardArgs<T> group_product(const GroupedMmForwardArgs<T>& args, int64_t g) {
  const int64_t begin = g == 0 || args.ends == nullptr ? 0 : args.ends[g - 1];
  const int64_t size = args.ends == nullptr ? 0 : args.ends[g] - begin;
  MatmulForwardArgs<T> product{};
  product.m = args.m;
  product.n = args.n;
  product.k = args.k;
  product.a = args.a + g * args.a_group_stride;
  product.a_row_stride = args.a_row_stride;
  product.a_col_stride = args.a_col_stride;
  product.b = args.b + g * args.b_group_stride;
  product.b_row_stride = args.b_row_stride;
  product.b_col_stride = args.b_col_stride;
  product.bias = args.bias == nullptr ? nullptr : args.bias + g * args.bias_group_stride;
  switch (args.divided) {
    case GroupedDimension::m:
      product.m = size;
      product.a = args.a + begin * args.a_row_stride;
      product.c = args.c + begin * args.n;
      break;
    case GroupedDimension::n:
      product.n = size;
      product.b = args.b + begin * args.b_col_stride;
      product.c = args.c + begin;
      if (args.bias != nullptr) product.bias = args.bias + begin;
      break;
    case GroupedDimension::k:
      product.k = size;
      product.a = args.a + begin * args.a_col_stride;
      product.b = args.b + begin * args.b_row_stride;
      [[fallthrough]];
    case GroupedDimension::none:
      product.c = args.c + g * args.m * args.n;
  }
  return product;
}

// The group that a cell is in: the last one with no more cells before it.
template <class T>
const Group<T>& group_of(const Group<T>* groups, int64_t count, int64_t cell) {
  int64_t first = 0;
  while (count > 1) {
    const int64_t half = count / 2;
    const bool later = groups[first + half].cells_before <= cell;
    first += later ? half : 0;
    count = later ? count - half : half;
  }
  return groups[first];
}

// Zeroes what of C lies past the last group.
template <class T>
void zero_rest(const GroupedMmForwardArgs<T>& args) {
  const int64_t end = args.groups == 0 || args.ends == nullptr ? 0 : args.ends[args.groups - 1];
  const bool rows = args.divided == GroupedDimension::m;
  if (!rows && args.divided != GroupedDimension::n) return;
  for (int64_t i = rows ? end : 0; i < args.m; ++i) {
    for (int64_t j = rows ? 0 : end; j < args.n; ++j) args.c[i * args.n + j] = T(0);
  }
}

}  // namespace

// Groups are cut by their shares of the work into some two cells a thread, so that large and small
// ones occupy the threads alike. Workspace: that of the engine and 200 bytes a group.
template <class T>
void grouped_mm_forward(const GroupedMmForwardArgs<T>& args) {
  zero_rest(args);
  Workspace table(args.groups * static_cast<int64_t>(sizeof(Group<T>)));
  Group<T>* const groups = table.take<Group<T>>(args.groups);
  int64_t total = 0;
  const auto work_of = [](const MatmulForwardArgs<T>& p) { return p.m * p.n * max_of(1, p.k); };
  for (int64_t g = 0; g < args.groups; ++g) {
    groups[g].product = group_product(args, g);
    total += work_of(groups[g].product);
  }
  if (total == 0) return;  // nothing of C belongs to a group
  const int64_t threads = max_of(1, min_of(plan_workers(num_threads()), total / kMinCellWork));
  const int64_t share = threads == 1 ? total : ceil_div(total, 2 * threads);
  int64_t cells = 0, scratch = 0;
  for (int64_t g = 0; g < args.groups; ++g) {
    const MatmulForwardArgs<T>& p = groups[g].product;
    const GemmShape shape{p.m, p.n, p.k};
    groups[g].cells_before = cells;
    if (work_of(p) == 0) continue;
    groups[g].grid = cut_into_cells<T>(shape, ceil_div(work_of(p), share));
    cells += groups[g].grid.down * groups[g].grid.across;
    scratch = max_of(scratch, round_up(grid_scratch<T>(shape, groups[g].grid), 16));
  }
  const int64_t grain = max_of(1, min_of(kMinCellWork * cells / total, cells));
  const int workers = plan_workers(ceil_div(cells, grain));
  Workspace workspace(workers * scratch * static_cast<int64_t>(sizeof(T)) + Workspace::kAlignment);
  T* const memory = workspace.take<T>(workers * scratch);
  parallel_for(cells, grain, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t i = begin; i < end; ++i) {
      const Group<T>& group = group_of(groups, args.groups, i);
      const MatmulForwardArgs<T>& p = group.product;
      multiply_cell<T>(p, p.a, p.b, nullptr, p.c, args.n,
                       cell_of({p.m, p.n, p.k}, group.grid, i - group.cells_before),
                       memory + worker * scratch);
    }
  });
}

template void grouped_mm_forward(const GroupedMmForwardArgs<float>&);
template void grouped_mm_forward(const GroupedMmForwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
