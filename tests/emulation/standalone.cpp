// One launch as a program: standalone FOLDER. The folder's file "case" holds
//     expression, then grid, block (three numbers each), shared and workers, a line each,
//     then a line for each argument: array or scalar.
// Argument number i lies in i.npy; arrays that the kernel may write come back there.
#include <fstream>
#include <iterator>

#include "threads.h"

namespace tn_emulator {

// A .npy file is a header that ends with its first line break, and the data.
struct Npy {
  std::string path, header;
  size_t bytes;
  std::unique_ptr<char[]> data;  // of exactly its size, so that an overrun shows

  explicit Npy(const std::string& path) : path(path) {
    std::ifstream file(path, std::ios::binary);
    const std::string all{std::istreambuf_iterator<char>(file), {}};
    if (!file || all.rfind("\x93NUMPY", 0) != 0) give_up(path + " is no .npy file");
    header = all.substr(0, all.find('\n', 10) + 1);
    bytes = all.size() - header.size();
    data.reset(new char[bytes]);
    std::memcpy(data.get(), all.data() + header.size(), bytes);
  }
  void write() const {
    std::ofstream file(path, std::ios::binary);
    (file << header).write(data.get(), bytes);
    if (!file.flush()) give_up("cannot write " + path);
  }
};

static void run_case(const std::string& folder) {
  std::ifstream file(folder + "/case");
  std::string expression;
  std::getline(file, expression);
  dim3 grid, block;
  size_t shared = 0;
  unsigned workers = 0;
  file >> grid.x >> grid.y >> grid.z >> block.x >> block.y >> block.z >> shared >> workers;
  if (!file) give_up(folder + "/case cannot be read");

  const Kernel* kernel = KERNELS;
  while (kernel != KERNELS + NUM_KERNELS && kernel->expression != expression) ++kernel;
  if (kernel == KERNELS + NUM_KERNELS) give_up("no kernel " + expression);

  std::vector<Npy> files;
  std::vector<char*> addresses;
  std::vector<void*> args;
  for (std::string kind; file >> kind;) {
    const size_t i = files.size();
    files.emplace_back(folder + "/" + std::to_string(i) + ".npy");
    const Parameter wanted = i < kernel->count ? kernel->parameters[i] : Parameter{};
    if (!wanted.size || wanted.array != (kind == "array") ||
        (!wanted.array && files[i].bytes != size_t(wanted.size)))
      give_up("argument " + std::to_string(i) + " does not fit");
  }
  if (files.size() != kernel->count) give_up("too few arguments");
  for (const Npy& npy : files) addresses.push_back(npy.data.get());
  for (size_t i = 0; i < files.size(); ++i)
    args.push_back(kernel->parameters[i].array ? static_cast<void*>(&addresses[i]) : addresses[i]);

  const Launch launch{*kernel, grid, block, shared, args.data()};
  if (const std::string reason = refusal(launch); !reason.empty()) give_up(reason);
  run(launch, workers);
  for (size_t i = 0; i < files.size(); ++i)
    if (kernel->parameters[i].array && !kernel->parameters[i].constant) files[i].write();
}

}  // namespace tn_emulator

int main(int count, char** words) {
  if (count == 2) tn_emulator::run_case(words[1]);
  else std::fputs(tn_emulator::describe_kernels().c_str(), stdout);
}
