# A template: "make packaging" replaces OWNER, VERSION and each SHA256_ word. In a tap, it is Formula/fauxlet.rb.
class Fauxlet < Formula
  desc "Stand-in kubelet, and checks of kube-apiserver and kubelets"
  homepage "https://github.com/OWNER/fauxlet"
  version "VERSION".delete_prefix("v")
  license "Apache-2.0"

  on_macos do
    on_arm do
      url "https://github.com/OWNER/fauxlet/releases/download/VERSION/fauxlet_VERSION_darwin_arm64.tar.gz"
      sha256 "SHA256_DARWIN_ARM64"
    end
    on_intel do
      url "https://github.com/OWNER/fauxlet/releases/download/VERSION/fauxlet_VERSION_darwin_amd64.tar.gz"
      sha256 "SHA256_DARWIN_AMD64"
    end
  end

  on_linux do
    on_arm do
      url "https://github.com/OWNER/fauxlet/releases/download/VERSION/fauxlet_VERSION_linux_arm64.tar.gz"
      sha256 "SHA256_LINUX_ARM64"
    end
    on_intel do
      url "https://github.com/OWNER/fauxlet/releases/download/VERSION/fauxlet_VERSION_linux_amd64.tar.gz"
      sha256 "SHA256_LINUX_AMD64"
    end
  end

  def install
    bin.install "fauxlet"
    generate_completions_from_executable(bin/"fauxlet", "completion")
  end

  test do
    assert_match "standing in for a kubelet", shell_output("#{bin}/fauxlet version")
    assert_match "reach.dialled", shell_output("#{bin}/fauxlet check --list")
  end
end
