// SPDX-License-Identifier: MIT
// Objects in shared memory: several processes count the words of a text in one map, and one of them
// is killed in the middle of a change. 18_objects NAME looks at a set that another run made.
#include <parley/objects.hpp>

#include <boost/interprocess/containers/map.hpp>
#include <boost/interprocess/containers/string.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <sstream>
#include <string>

using word =
    boost::interprocess::basic_string<char, std::char_traits<char>, parley::shared_allocator<char>>;
using entry = std::pair<const word, int>;
using counts = boost::interprocess::map<word, int, std::less<>, parley::shared_allocator<entry>>;

counts& in(parley::object_heap& heap) {
    return **heap.find_or_make<counts>("counts", heap.allocator<entry>());
}

int count(const std::string& name, const std::string& text, bool dies) {
    auto set = parley::open_objects(name).value();
    std::istringstream words(text);
    for (std::string w; words >> w;) {
        set.update([&](parley::object_heap& heap) {
               if (dies && w == "die") ::raise(SIGKILL);
               ++in(heap)[word(w.c_str(), heap.allocator<char>())];
           })
            .value();
    }
    return 0;
}

int main(int argc, char** argv) {
    const std::string name = argc > 1 ? argv[1] : "words-" + std::to_string(::getpid());
    int mended = 0;
    auto set = parley::open_objects(name, {}, [&](parley::object_heap&) {
                   ++mended;  // it died before it touched the map, so there is nothing to mend
                   return parley::result<void>();
               }).value();
    for (const bool dies : {false, true, false}) {
        if (::fork() == 0) ::_exit(count(name, "live and let die and let live", dies));
        int status = 0;
        ::wait(&status);
        if (dies != WIFSIGNALED(status)) return 1;
        // Whoever comes next mends.
        set.update([](parley::object_heap&) {}).value();
    }
    return set
        .look([&](const parley::object_heap& heap) {
            for (const auto& [w, n] : **heap.find<counts>("counts")) {
                std::printf("%-5s %d\n", w.c_str(), n);
            }
            return mended == 1 && (*heap.find<counts>("counts"))->size() == 4 ? 0 : 1;
        })
        .value();
}
