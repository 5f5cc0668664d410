variables {
  name                  = "sluice"
  deliveries_per_second = 20
}

run "a_small_gateway_has_a_task_in_each_of_two_zones" {
  assert {
    condition     = output.task_cpu == 512 && output.task_memory == 1024 && output.min_tasks == 2 && output.max_tasks == 4
    error_message = "20 a second fit into the smallest tasks"
  }
  assert {
    condition     = output.database_class == "db.t4g.medium" && output.database_gib == 50
    error_message = "20 a second fit into the smallest database"
  }
}

run "the_rest_carries_the_load_when_a_zone_is_gone" {
  variables {
    deliveries_per_second = 1000
    zones                 = 3
  }
  assert {
    condition     = output.task_cpu * 2 >= 2048 && output.task_cpu == 1024
    error_message = "1000 a second are 2048 units, of which each of two zones carries half"
  }
  assert {
    condition     = output.database_class == "db.m7g.2xlarge"
    error_message = "1000 a second need the largest measured database"
  }
}

run "a_size_at_the_edge_belongs_to_the_smaller_class" {
  variables { deliveries_per_second = 200 }
  assert {
    condition     = output.database_class == "db.m7g.large"
    error_message = "200 is within the class for 200"
  }
}

run "fargate_has_the_memory_for_the_processors" {
  variables { deliveries_per_second = 1000 }
  assert {
    condition     = output.task_cpu == 2048 && output.task_memory == 4096
    error_message = "Fargate takes 2 to 8 GiB for each processor"
  }
}

run "more_than_was_measured_is_refused" {
  command = plan
  variables { deliveries_per_second = 1001 }
  expect_failures = [var.deliveries_per_second]
}

run "a_name_that_aws_would_refuse_is_refused_here" {
  command = plan
  variables { name = "Sluice-" }
  expect_failures = [var.name]
}

run "one_zone_is_refused" {
  command = plan
  variables { zones = 1 }
  expect_failures = [var.zones]
}
