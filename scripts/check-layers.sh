#!/usr/bin/env bash
# Layers, checked: the `mod` declarations of a crate's root, leaf first, are the list of its layers, and a module imports
# only from modules that are declared above it. Paths through the root's re-exports count as imports of the module that
# holds the item. Comments, strings and tests are free. No path climbs with `super::super`.
#
# A component is used through the items that its `mod.rs` exports: its submodules are private, so the compiler checks
# that. Those below are namespaces, used as `server::start` or `rpc::submit::BatchSeq`, and visible.
set -euo pipefail
cd "$(dirname "$0")/.."

# One line per crate: a crate is checked as soon as its line is no comment.
roots=(
  protocol/src/lib.rs
  storage/src/lib.rs
  cluster/src/lib.rs
  loadtest/src/main.rs
  node/src/lib.rs
)

perl -e '
  use strict; use warnings;
  my ($failed, $edges) = (0, 0);
  my %namespace = map { $_ => 0 } qw(
    node/auth/login_service node/auth/token_verifier
    node/commands/changes node/commands/queries
    node/gateway/connection_limit node/gateway/server node/gateway/unauthenticated
    node/lifecycle/shutdown
    node/presence/local_presence node/presence/registry node/presence/reporter
    node/rpc/deliver node/rpc/forward node/rpc/login node/rpc/presence node/rpc/register node/rpc/resume node/rpc/submit
    node/session/messages
    node/shard/ephemeral
    node/shard_client/owner_client node/shard_client/presence_query node/shard_client/queries
    node/state_machine/query
    node/telemetry/logging node/telemetry/metrics
    loadtest/pacing/rate_curve loadtest/pacing/search
    loadtest/report/compare loadtest/report/dated_report
    storage/engine/memory storage/engine/rocks
  );

  # Returns the text of a file with comments, strings and test modules blanked; line numbers stay.
  sub code {
    my ($file) = @_;
    open(my $in, "<", $file) or die "$file: $!";
    local $/; my $text = <$in>;
    my $blank = sub { my ($gone) = @_; $gone =~ s/[^\n]//g; $gone };
    $text =~ s{(//[^\n]*|/\*(?s:.*?)\*/|b?\x27(?:\\.[^\x27]*|[^\\\x27])\x27|\bb?r(?<h>#*)"(?s:.*?)"\k<h>|"(?:\\(?s:.)|[^"\\])*")}{$blank->($1)}ge;
    $text =~ s{(#\[cfg\((?:test|all\(test[^\]]*)\)\]\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+\w+\s*(?<b>\{(?:[^{}]++|(?&b))*\}))}{$blank->($1)}ge;
    return $text;
  }

  # Returns [name, line] for each first segment behind `crate::`, nested use trees included.
  sub imports {
    my ($text, $start) = @_;
    my @found;
    while ($text =~ /$start\s*(\w+|\{)/g) {
      my ($name, $at) = ($1, $-[1]);
      if ($name ne "{") { push @found, [$name, $at]; next }
      my ($depth, $first) = (1, 1);
      while ($depth > 0 && $text =~ /\G\s*(\w+|[^\w\s])/g) {
        my ($token, $place) = ($1, $-[1]);
        push @found, [$token, $place] if $depth == 1 && $first && $token =~ /^\w/;
        $depth++ if $token eq "{";
        $depth-- if $token eq "}";
        $first = $token eq ",";
      }
    }
    return map { [$_->[0], 1 + (substr($text, 0, $_->[1]) =~ tr/\n//)] } @found;
  }

  for my $root (@ARGV) {
    my ($crate) = split m{/}, $root;
    my $src = $root =~ s{/[^/]+$}{}r;
    my $text = code($root);
    $text =~ s/#\[cfg\(test\)\]\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+\w+;//g;
    my @modules = $text =~ /\bmod\s+(\w+);/g;
    my %layer = map { $modules[$_] => $_ } 0 .. $#modules;
    my %holder;
    while ($text =~ /\bpub(?:\([^)]*\))?\s+use\s+(?:crate::)?(\w+)::([^;]+);/g) {
      my ($module, $items) = ($1, $2);
      $holder{$1} = $module while $items =~ /(\w+)\s*(?=[,}]|$)/g;
    }
    for my $file (split /\n/, `git ls-files -co --exclude-standard "$src/*.rs"`) {
      next if $file eq $root || !-f $file || $file =~ m{/tests/|/tests?(?:_\w+)?\.rs$|_tests?\.rs$|/main\.rs$};
      my ($own, $rest) = $file =~ m{^\Q$src\E/(\w+)(.*)\.rs$};
      next unless defined $own && exists $layer{$own};
      my $code = code($file);
      # The groups of commands are the contents of protocol, one file each; the test kit is public by its purpose.
      if ($rest eq "/mod" && "$crate/$own" ne "protocol/groups" && $own ne "testkit") {
        while ($code =~ /^pub(?:\([^)]*\))?\s+mod\s+(\w+);/mg) {
          if (exists $namespace{"$crate/$own/$1"}) { $namespace{"$crate/$own/$1"}++; next }
          print STDERR "$crate: $file: module $1 is visible outside of $own: export its items instead\n"; $failed = 1;
        }
      }
      my @paths = imports($code, qr/\bcrate::/);
      push @paths, imports($code, qr/(?<!::)\bsuper::/) if $rest eq "" || $rest eq "/mod";
      for my $path (@paths) {
        my ($name, $line) = @$path;
        my $module = exists $layer{$name} ? $name : $holder{$name};
        next unless defined $module && exists $layer{$module} && $module ne $own;
        $edges++;
        next if $layer{$module} < $layer{$own};
        print STDERR "$crate: $file:$line: $own -> $module\n"; $failed = 1;
      }
      while ($code =~ /\bsuper::super\b/g) {
        my $line = 1 + (substr($code, 0, $-[0]) =~ tr/\n//);
        print STDERR "$crate: $file:$line: super::super\n"; $failed = 1;
      }
    }
  }
  for my $unused (sort grep { !$namespace{$_} } keys %namespace) {
    print STDERR "layers: $unused is listed as a namespace and is none\n"; $failed = 1;
  }
  print "layers: $edges imports of ", scalar(@ARGV), " crates point to a lower module\n" unless $failed;
  exit $failed;
' "${roots[@]}"
